#include "backend/opencl/opencl_queue.h"

#include <algorithm>
#include <cstring>

#include "backend/opencl/opencl_buffer.h"
#include "backend/opencl/opencl_kernel.h"

namespace v4rt {
namespace {

void check_range(const Buffer& buffer, size_t offset, size_t bytes) {
  check(offset <= buffer.bytes() && bytes <= buffer.bytes() - offset, Code::kInternal,
        "copy of {} bytes at {} of a buffer of {} bytes", bytes, offset, buffer.bytes());
}

// body(memory, done, n) for the parts of bytes [offset, offset + bytes) of a buffer.
template <class Body>
void for_parts(const Buffer& buffer, size_t offset, size_t bytes, const Body& body) {
  check_range(buffer, offset, bytes);
  for (size_t done = 0, n = 0; done < bytes; done += n) {
    const OpenclParts::Part part = opencl_parts(buffer).part(offset + done);
    n = std::min(part.bytes, bytes - done);
    body(part.memory, done, n);
  }
}

}  // namespace

void OpenclQueue::verify(cl_int status, std::string_view call) const {
  if (status != CL_SUCCESS) cl::check_call(status, fmt::format("{}: {}", device_name_, call));
}

OpenclQueue::OpenclQueue(cl_context context, cl_device_id device, std::string device_name, cl_command_queue lent,
                         bool pinned)
    : context_(context), device_name_(std::move(device_name)) {
  cl_int status = lent != nullptr ? clRetainCommandQueue(lent) : CL_SUCCESS;
  queue_ = cl::CommandQueue(lent != nullptr ? lent : clCreateCommandQueue(context, device, 0, &status));
  verify(status, lent != nullptr ? "clRetainCommandQueue" : "clCreateCommandQueue");
  for (Staging& staging : staging_) staging.bytes.resize(kStagingBytes);
  if (pinned) pinned_ = std::make_unique<PinnedStaging>(context, queue_.get(), device_name_);
}

// Commands in flight read our staging memory, and write the answer.
OpenclQueue::~OpenclQueue() {
  if (clFinish(queue_.get()) == CL_SUCCESS) return;
  for (const Staging& staging : staging_) cl::outlast(staging.in_flight.get());
  cl::outlast(answered_.get());
}

OpenclQueue::Staging& OpenclQueue::next_staging(size_t bytes) {
  Staging& staging = staging_[next_];
  next_ = (next_ + 1) % kStagingSlots;
  if (staging.in_flight) {
    const cl_event event = staging.in_flight.get();
    verify(clWaitForEvents(1, &event), "clWaitForEvents");
    staging.in_flight = {};
  }
  if (staging.bytes.size() < bytes) staging.bytes.resize(bytes);
  return staging;
}

void OpenclQueue::write_staged(cl_mem dst, size_t offset, Staging& staging, size_t bytes) {
  cl_event event = nullptr;
  verify(clEnqueueWriteBuffer(queue_.get(), dst, CL_FALSE, offset, bytes, staging.bytes.data(), 0, nullptr, &event),
         "clEnqueueWriteBuffer");
  staging.in_flight = cl::Event(event);
}

void OpenclQueue::upload(Buffer& dst, size_t offset, std::span<const std::byte> src) {
  for_parts(dst, offset, src.size(), [&](const OpenclMemory& to, size_t done, size_t n) {
    if (src.size() <= kStagingBytes) {  // token ids and the like: no stall between chunks
      Staging& staging = next_staging(n);
      std::memcpy(staging.bytes.data(), src.data() + done, n);
      write_staged(to.object, to.offset, staging, n);
      return;
    }
    if (pinned_ != nullptr) return pinned_->upload(to, src.subspan(done, n));
    verify(clEnqueueWriteBuffer(queue_.get(), to.object, CL_TRUE, to.offset, n, src.data() + done, 0, nullptr, nullptr),
           "clEnqueueWriteBuffer");
  });
}

void OpenclQueue::download(std::span<std::byte> dst, Buffer& src, size_t offset) {
  for_parts(src, offset, dst.size(), [&](const OpenclMemory& from, size_t done, size_t n) {
    if (pinned_ != nullptr && dst.size() > kStagingBytes) return pinned_->download(dst.subspan(done, n), from);
    verify(
        clEnqueueReadBuffer(queue_.get(), from.object, CL_TRUE, from.offset, n, dst.data() + done, 0, nullptr, nullptr),
        "clEnqueueReadBuffer");
  });
}

void OpenclQueue::ask(Buffer& src) {
  check_range(src, 0, sizeof(answer_));
  const OpenclMemory from = memory_of(src);
  cl_event event = nullptr;
  verify(clEnqueueReadBuffer(queue_.get(), from.object, CL_FALSE, from.offset, sizeof(answer_), &answer_, 0, nullptr,
                             &event),
         "clEnqueueReadBuffer");
  answered_ = cl::Event(event);
}

int32_t OpenclQueue::answer() {
  const cl_event event = answered_.get();
  verify(clWaitForEvents(1, &event), "clWaitForEvents");
  return answer_;
}

void OpenclQueue::fill(Buffer& dst, std::byte value) {
  std::array<std::byte, 16> pattern;
  pattern.fill(value);
  for_parts(dst, 0, dst.bytes(), [&](const OpenclMemory& to, size_t, size_t n) {
    const size_t pattern_bytes = (to.offset | n) % pattern.size() == 0 ? pattern.size() : 1;
    verify(
        clEnqueueFillBuffer(queue_.get(), to.object, pattern.data(), pattern_bytes, to.offset, n, 0, nullptr, nullptr),
        "clEnqueueFillBuffer");
  });
}

void OpenclQueue::copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) {
  for_parts(dst, dst_offset, bytes, [&](const OpenclMemory& to, size_t before, size_t many) {
    for_parts(src, src_offset + before, many, [&](const OpenclMemory& from, size_t done, size_t n) {
      verify(clEnqueueCopyBuffer(queue_.get(), from.object, to.object, from.offset, to.offset + done, n, 0, nullptr,
                                 nullptr),
             "clEnqueueCopyBuffer");
    });
  });
}

void OpenclQueue::begin(const Step& step) {
  struct Int4 {
    int32_t x, y, z, w;
  };
  static_assert(sizeof(Row) == sizeof(Int4));
  const size_t bytes = (1 + step.rows.size() + step.segments.size()) * sizeof(Int4);
  if (bytes > step_table_bytes_) {
    const size_t capacity = std::max(bytes, kStagingBytes);
    cl_int status = CL_SUCCESS;
    step_table_ = cl::Memory(clCreateBuffer(context_, CL_MEM_READ_ONLY, capacity, nullptr, &status));
    verify(status, "clCreateBuffer of the step table");
    step_table_bytes_ = capacity;
    step_table_serial_ = next_memory_serial();
  }
  Staging& staging = next_staging(bytes);
  auto* table = reinterpret_cast<Int4*>(staging.bytes.data());
  *table++ = {step.n_rows(), step.n_segments(), 0, 0};
  if (!step.rows.empty()) std::memcpy(table, step.rows.data(), step.rows.size_bytes());
  table += step.rows.size();
  int32_t end = 0;
  for (const Segment& segment : step.segments) {
    end += segment.n_tokens;
    *table++ = {end - 1, segment.slot, 0, 0};
  }
  write_staged(step_table_.get(), 0, staging, bytes);
  has_step_ = true;
}

OpenclMemory OpenclQueue::step_table() const {
  check(has_step_, Code::kInternal, "{}: a kernel that reads the step was launched before begin()", device_name_);
  return {step_table_.get(), 0, step_table_serial_};
}

OpenclMemory OpenclQueue::arrivals() {
  if (!arrivals_) {
    cl_int status = CL_SUCCESS;
    cl::Memory made(clCreateBuffer(context_, CL_MEM_READ_WRITE, kArrivals * sizeof(cl_uint), nullptr, &status));
    verify(status, "clCreateBuffer of the counters of work-groups");
    const cl_uint zero = 0;
    verify(clEnqueueFillBuffer(queue_.get(), made.get(), &zero, sizeof(zero), 0, kArrivals * sizeof(cl_uint), 0,
                               nullptr, nullptr),
           "clEnqueueFillBuffer");
    arrivals_ = std::move(made);
    arrivals_serial_ = next_memory_serial();
  }
  return {arrivals_.get(), 0, arrivals_serial_};
}

void OpenclQueue::launch(const Kernel& kernel, std::span<const Tensor> args, const Step& step) {
  static_cast<const OpenclKernel&>(kernel).enqueue(*this, args, step);
}

class OpenclQueue::Copy final : public LaterCopy {
 public:
  explicit Copy(const OpenclQueue& queue) : queue_(queue) {}
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  ~Copy() override {
    if (const cl_event event = done_.get()) clWaitForEvents(1, &event);
  }

  void download(std::span<std::byte> dst, Buffer& src, size_t offset) override {
    check_range(src, offset, dst.size());
    const OpenclMemory from = memory_of(src);
    begun("clEnqueueReadBuffer", [&](cl_event* event) {
      return clEnqueueReadBuffer(queue_.handle(), from.object, CL_FALSE, from.offset + offset, dst.size(), dst.data(),
                                 0, nullptr, event);
    });
  }
  void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
    check_range(dst, offset, src.size());
    const OpenclMemory to = memory_of(dst);
    begun("clEnqueueWriteBuffer", [&](cl_event* event) {
      return clEnqueueWriteBuffer(queue_.handle(), to.object, CL_FALSE, to.offset + offset, src.size(), src.data(), 0,
                                  nullptr, event);
    });
  }
  void wait() override {
    const cl_event event = done_.get();
    if (event == nullptr) return;
    const cl_int status = clWaitForEvents(1, &event);
    done_ = {};
    queue_.verify(status, "clWaitForEvents");
  }

 private:
  // A driver may leave what is enqueued alone until it is told to begin.
  template <class Enqueue>
  void begun(std::string_view call, const Enqueue& enqueue) {
    cl_event event = nullptr;
    queue_.verify(enqueue(&event), call);
    done_ = cl::Event(event);
    queue_.verify(clFlush(queue_.handle()), "clFlush");
  }

  const OpenclQueue& queue_;
  cl::Event done_;
};

std::unique_ptr<LaterCopy> OpenclQueue::later_copy() { return std::make_unique<Copy>(*this); }

void OpenclQueue::finish() { verify(clFinish(queue_.get()), "clFinish"); }

}  // namespace v4rt
