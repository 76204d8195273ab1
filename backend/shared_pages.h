#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/state_memory.h"

namespace v4rt {

// Host memory in extents that are mapped: a kernel sees one contiguous range.
class SharedPages final : public SharedState {
 public:
  // nullptr where this system does not map memory twice. `largest`: bytes of the longest range that will be copied;
  // extents are smaller where it is short.
  static std::shared_ptr<SharedPages> create(size_t bytes, size_t largest);
  static size_t extent_bytes(size_t largest);  // 4 KiB to 64 KiB
  ~SharedPages() override;
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

  std::byte* data() const { return data_; }

  void own(size_t begin, size_t end) override;
  void copy(size_t to, size_t from, size_t n) override;

 private:
  SharedPages(int file, std::byte* data, size_t bytes, size_t extent);

  // Extents [first, first + n) are those of the file from `of` on.
  void map(size_t first, size_t of, size_t n);
  size_t unused(size_t wanted);

  const int file_;
  std::byte* const data_;
  const size_t bytes_, extent_;
  std::vector<uint32_t> of_;      // by extent: where it lies in the file, in extents
  std::vector<uint32_t> shared_;  // by extent of the file: how many are it
  size_t cursor_ = 0;             // where the last unused one was found
};

}  // namespace v4rt
