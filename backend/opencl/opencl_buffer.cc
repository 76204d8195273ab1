#include "backend/opencl/opencl_buffer.h"

#include <algorithm>

namespace v4rt {

uint64_t next_memory_serial() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

BufferPtr OpenclBuffer::allocate(cl_context context, size_t bytes, const std::shared_ptr<MemoryBudget>& budget) {
  const size_t used = budget->used.fetch_add(bytes);
  const bool fits = budget->limit == 0 || (bytes <= budget->limit && used <= budget->limit - bytes);
  cl_int status = CL_SUCCESS;
  cl_mem memory = nullptr;
  if (fits) memory = clCreateBuffer(context, CL_MEM_READ_WRITE, std::max<size_t>(bytes, 16), nullptr, &status);
  if (memory == nullptr) {
    budget->used -= bytes;
    check(fits, Code::kOutOfMemory, "{} bytes asked, {} in use, the device has {}", bytes, used, budget->limit);
    cl::throw_error(status, fmt::format("{} bytes asked, {} in use", bytes, used));
  }
  return whole(cl::Memory(memory), bytes, budget);
}

BufferPtr OpenclBuffer::import_host(cl_context context, std::span<const std::byte> memory) {
  cl_int status = CL_SUCCESS;
  auto* host = const_cast<std::byte*>(memory.data());  // CL_MEM_READ_ONLY: kernels do not write it
  cl_mem object = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR, memory.size(), host, &status);
  return status == CL_SUCCESS && object != nullptr ? whole(cl::Memory(object), memory.size()) : nullptr;
}

BufferPtr OpenclBuffer::constant(cl_context context, std::span<const std::byte> bytes) {
  cl_int status = CL_SUCCESS;
  auto* host = const_cast<std::byte*>(bytes.data());
  cl_mem memory = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes.size(), host, &status);
  cl::check_call(status, "clCreateBuffer");
  return whole(cl::Memory(memory), bytes.size());
}

BufferPtr OpenclBuffer::whole(cl::Memory memory, size_t bytes, const std::shared_ptr<MemoryBudget>& budget) {
  const auto give_back = [bytes, budget](const Whole* owned) {
    delete owned;
    if (budget != nullptr) budget->used -= bytes;
  };
  return BufferPtr(new OpenclBuffer({new Whole{std::move(memory), next_memory_serial()}, give_back}, 0, bytes));
}

BufferPtr OpenclBuffer::slice(size_t offset, size_t bytes) {
  check(offset <= bytes_ && bytes <= bytes_ - offset, Code::kInternal, "slice [{}, {}) of a buffer of {} bytes", offset,
        offset + bytes, bytes_);
  return BufferPtr(new OpenclBuffer(memory_, offset_ + offset, bytes));
}

}  // namespace v4rt
