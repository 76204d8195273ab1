#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/opencl/opencl_buffer.h"
#include "backend/state_memory.h"

namespace v4rt {

// A state in extents of one buffer: kernels find a row through a table on the device (kernels/extents.cl), the queue by
// part(). The buffer has room for the extents that are in use, and grows by a 32nd at least: a fork, after which a few
// more are needed, must not take much.
class OpenclExtents final : public OpenclParts, public SharedState {
 public:
  explicit OpenclExtents(const ExtentsSpec& spec);

  size_t bytes() const override { return of_.size() * extent_; }
  BufferPtr slice(size_t offset, size_t bytes) override;  // throws
  Part part(size_t offset) const override;
  OpenclEntries entries(int32_t capacity, const OpenclMemory& no_table) const override;

  void own(size_t begin, size_t end) override;
  void copy(size_t to, size_t from, size_t n) override;

 private:
  static constexpr int32_t kNone = -1;
  bool mine(size_t e) const { return of_[e] != kNone && shared_[static_cast<size_t>(of_[e])] == 1; }
  size_t place(size_t e) const { return static_cast<size_t>(of_[e]) * extent_; }
  void make_room(size_t extents);  // that nobody uses
  size_t unused();
  void map(size_t e, size_t of);
  void upload(size_t first, size_t end);  // of the table

  std::vector<int32_t> of_;  // by extent of the tensor: which of the memory, or kNone
  const size_t extent_;      // bytes
  const int32_t shift_;
  const std::function<BufferPtr(size_t bytes)> allocate_;
  Queue& queue_;
  BufferPtr memory_, table_;
  std::vector<uint32_t> shared_;  // by extent of the memory: how many are it
  size_t used_ = 0, cursor_ = 0;  // where the last unused one was found
};

}  // namespace v4rt
