#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "backend/opencl/cl.h"
#include "ops/core/tensor.h"

namespace v4rt {

// A device's memory budget: drivers refuse single buffers, not totals.
struct MemoryBudget {
  size_t limit = 0;  // 0 = unknown
  std::atomic<size_t> used{0};
};

// Where a buffer lies: at `offset` bytes of a cl_mem. A driver may give the handle of one that is gone to another; the
// serial number is never used again.
struct OpenclMemory {
  cl_mem object;
  cl_ulong offset;
  uint64_t serial;
};

uint64_t next_memory_serial();

// A tensor of compressed entries as kernels find its rows (kernels/extents.cl); shift < 0: in order.
struct OpenclEntries {
  OpenclMemory rows, table;
  int32_t shift, capacity;
};

// Bytes on an OpenCL device, which may lie in several places.
class OpenclParts : public Buffer {
 public:
  struct Part {
    OpenclMemory memory;
    size_t bytes;
  };
  virtual Part part(size_t offset) const = 0;  // from byte `offset` on, as far as it lies together
  virtual OpenclEntries entries(int32_t capacity, const OpenclMemory& no_table) const {
    return {part(0).memory, no_table, -1, capacity};
  }
  std::byte* host() const override { return nullptr; }  // the host would have to map it first
};

// A cl_mem, or a range of one.
class OpenclBuffer final : public OpenclParts {
 public:
  // Counts `bytes` towards the budget; throws Error(kOutOfMemory).
  static BufferPtr allocate(cl_context context, size_t bytes, const std::shared_ptr<MemoryBudget>& budget);
  // A read-only view of the host's memory, or nullptr when the driver refuses. When the last part of it is dropped, no
  // command reads the memory any more.
  static BufferPtr import_host(cl_context context, std::span<const std::byte> memory);
  // A read-only buffer that starts as a copy of `bytes`.
  static BufferPtr constant(cl_context context, std::span<const std::byte> bytes);

  size_t bytes() const override { return bytes_; }
  BufferPtr slice(size_t offset, size_t bytes) override;

  Part part(size_t offset) const override {
    return {{memory_->object.get(), offset_ + offset, memory_->serial}, bytes_ - offset};
  }

 private:
  struct Whole {
    cl::Memory object;
    uint64_t serial;
  };
  static BufferPtr whole(cl::Memory memory, size_t bytes, const std::shared_ptr<MemoryBudget>& budget = {});
  OpenclBuffer(std::shared_ptr<const Whole> memory, size_t offset, size_t bytes)
      : memory_(std::move(memory)), offset_(offset), bytes_(bytes) {}

  std::shared_ptr<const Whole> memory_;  // shared with slices
  size_t offset_, bytes_;
};

inline const OpenclParts& opencl_parts(const Buffer& buffer) { return static_cast<const OpenclParts&>(buffer); }
inline OpenclMemory memory_of(const Buffer& buffer) { return opencl_parts(buffer).part(0).memory; }

}  // namespace v4rt
