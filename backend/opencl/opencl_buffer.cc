#include "backend/opencl/opencl_buffer.h"

#include <algorithm>

namespace v4rt {
namespace {

std::shared_ptr<OpenclBuffer> share(OpenclBuffer* buffer) { return std::shared_ptr<OpenclBuffer>(buffer); }

}  // namespace

BufferPtr OpenclBuffer::allocate(cl_context context, size_t bytes, std::shared_ptr<MemoryBudget> budget) {
  const size_t used = budget->used.fetch_add(bytes);
  const bool fits = budget->limit == 0 || (bytes <= budget->limit && used <= budget->limit - bytes);
  cl_int status = CL_SUCCESS;
  cl_mem memory = nullptr;
  if (fits) memory = clCreateBuffer(context, CL_MEM_READ_WRITE, std::max<size_t>(bytes, 16), nullptr, &status);
  if (memory == nullptr) {
    budget->used -= bytes;
    check(fits, Code::kOutOfMemory, "{} bytes asked, {} in use, the device has {}", bytes, used, budget->limit);
    fail(Code::kOutOfMemory, "{} bytes asked, {} in use: {} ({})", bytes, used, cl::error_name(status), status);
  }
  auto buffer = share(new OpenclBuffer(cl::Memory(memory), bytes));
  buffer->budget_ = std::move(budget);
  buffer->self_ = buffer;
  return buffer;
}

BufferPtr OpenclBuffer::import_host(cl_context context, std::span<const std::byte> memory) {
  cl_int status = CL_SUCCESS;
  auto* host = const_cast<std::byte*>(memory.data());  // CL_MEM_READ_ONLY: kernels do not write it
  cl_mem object = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR, memory.size(), host, &status);
  if (status != CL_SUCCESS || object == nullptr) return nullptr;
  auto buffer = share(new OpenclBuffer(cl::Memory(object), memory.size()));
  buffer->self_ = buffer;
  return buffer;
}

BufferPtr OpenclBuffer::constant(cl_context context, std::span<const std::byte> bytes) {
  cl_int status = CL_SUCCESS;
  auto* host = const_cast<std::byte*>(bytes.data());
  cl_mem memory = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes.size(), host, &status);
  cl::check_call(status, "clCreateBuffer");
  auto buffer = share(new OpenclBuffer(cl::Memory(memory), bytes.size()));
  buffer->self_ = buffer;
  return buffer;
}

OpenclBuffer::~OpenclBuffer() {
  if (budget_ != nullptr) budget_->used -= bytes_;
}

BufferPtr OpenclBuffer::slice(size_t offset, size_t bytes) {
  check(offset <= bytes_ && bytes <= bytes_ - offset, Code::kInternal, "slice [{}, {}) of a buffer of {} bytes", offset,
        offset + bytes, bytes_);
  const std::shared_ptr<const OpenclBuffer> whole = whole_ != nullptr ? whole_ : self_.lock();
  // An empty slice still needs a valid object: it borrows one byte that no kernel touches.
  const size_t origin = offset_ + offset;
  const size_t size = std::max<size_t>(bytes, 1);
  const bool past_end = origin + size > std::max<size_t>(whole->bytes_, 16);
  const cl_buffer_region region{past_end ? 0 : origin, size};
  cl_int status = CL_SUCCESS;
  cl_mem memory = clCreateSubBuffer(whole->memory(), 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
  if (status != CL_SUCCESS)
    fail(Code::kDevice, "clCreateSubBuffer at {}: {} ({})", origin, cl::error_name(status), status);
  auto buffer = share(new OpenclBuffer(cl::Memory(memory), bytes));
  buffer->whole_ = whole;
  buffer->offset_ = origin;
  buffer->self_ = buffer;
  return buffer;
}

}  // namespace v4rt
