#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace v4rt {

// Host memory in extents, of which ranges that are copies of each other are the same pages until one of them is written
// to. Who is about to write says so. So a kernel sees one contiguous range, and a copy takes memory only where it
// becomes different.
class SharedPages {
 public:
  // nullptr where this system does not map memory twice. `largest`: bytes of the longest range that will be copied;
  // extents are smaller where it is short.
  static std::shared_ptr<SharedPages> create(size_t bytes, size_t largest);
  static size_t extent_bytes(size_t largest);  // 4 KiB to 64 KiB
  ~SharedPages();
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

  std::byte* data() const { return data_; }

  // Bytes [begin, end) are about to be written: from now on these are no other range's. What they held may be lost, and
  // so may what follows them in their last extent. Throws Error(kOutOfMemory), having changed nothing that counts.
  void own(size_t begin, size_t end);

  // Bytes [to, to + n) become those of [from, from + n); both begin an extent, and what follows is as for own(). Throws
  // Error(kOutOfMemory): the former hold anything.
  void copy(size_t to, size_t from, size_t n);

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
