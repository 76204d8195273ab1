#include "backend/opencl/opencl_buffer.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "ops/core/log.h"

namespace v4rt {
namespace {

// A driver that has lost its device may never say; it is waited for once.
constexpr std::chrono::seconds kPatience{60};
std::atomic<bool> keeps_silent{false};

// When the driver has let go of a cl_mem: after the last command that uses it, whoever releases it before.
std::future<void> end_of(cl_mem memory) {
  auto promise = std::make_unique<std::promise<void>>();
  auto end = promise->get_future();
  const auto tell = [](cl_mem, void* user) {
    std::unique_ptr<std::promise<void>>(static_cast<std::promise<void>*>(user))->set_value();
  };
  if (clSetMemObjectDestructorCallback(memory, tell, promise.get()) != CL_SUCCESS) return {};
  (void)promise.release();
  return end;
}

}  // namespace

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
  if (status != CL_SUCCESS || object == nullptr) return nullptr;
  cl::Memory owned(object);
  // Whoever drops the buffer frees the memory next, and kernels may still run: a queue that failed was not waited for.
  auto end = std::make_shared<std::future<void>>(end_of(object));
  if (!end->valid()) return nullptr;
  const auto give_back = [end](const Whole* gone) {
    delete gone;
    if (end->wait_for(keeps_silent ? std::chrono::seconds(0) : kPatience) == std::future_status::ready) return;
    if (!keeps_silent.exchange(true))
      log::warn("opencl: the driver has not let go of the host's memory after {} s; what it runs may yet read it",
                kPatience.count());
  };
  return BufferPtr(new OpenclBuffer({new Whole{std::move(owned), next_memory_serial()}, give_back}, 0, memory.size()));
}

BufferPtr OpenclBuffer::constant(cl_context context, std::span<const std::byte> bytes) {
  cl_int status = CL_SUCCESS;
  auto* host = const_cast<std::byte*>(bytes.data());
  cl_mem memory = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes.size(), host, &status);
  cl::check_call(status, "clCreateBuffer of a kernel's table");
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
