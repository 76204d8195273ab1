#pragma once

#include <atomic>
#include <memory>

#include "backend/opencl/cl.h"
#include "ops/core/tensor.h"

namespace v4rt {

// A device's memory budget: drivers refuse single buffers, not totals.
struct MemoryBudget {
  size_t limit = 0;  // 0 = unknown
  std::atomic<size_t> used{0};
};

// A cl_mem, or a range of one. Slices are sub-buffers of the whole: OpenCL allows one level.
class OpenclBuffer final : public Buffer {
 public:
  // Counts `bytes` towards the budget; throws Error(kOutOfMemory).
  static BufferPtr allocate(cl_context context, size_t bytes, std::shared_ptr<MemoryBudget> budget);
  // A read-only view of the host's memory, or nullptr when the driver refuses.
  static BufferPtr import_host(cl_context context, std::span<const std::byte> memory);
  // A read-only buffer that starts as a copy of `bytes`.
  static BufferPtr constant(cl_context context, std::span<const std::byte> bytes);
  ~OpenclBuffer() override;

  size_t bytes() const override { return bytes_; }
  std::byte* host() const override { return nullptr; }  // the host would have to map it first
  BufferPtr slice(size_t offset, size_t bytes) override;

  cl_mem memory() const { return memory_.get(); }

 private:
  OpenclBuffer(cl::Memory memory, size_t bytes) : memory_(std::move(memory)), bytes_(bytes) {}

  cl::Memory memory_;
  size_t bytes_;
  std::shared_ptr<MemoryBudget> budget_;       // of allocations
  std::shared_ptr<const OpenclBuffer> whole_;  // of slices
  size_t offset_ = 0;                          // in *whole_
  std::weak_ptr<const OpenclBuffer> self_;
};

inline cl_mem memory_of(const Buffer& buffer) { return static_cast<const OpenclBuffer&>(buffer).memory(); }

}  // namespace v4rt
