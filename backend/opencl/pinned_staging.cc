#include "backend/opencl/pinned_staging.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ops/core/human.h"

namespace v4rt {

void PinnedStaging::verify(cl_int status, std::string_view call) const {
  if (status != CL_SUCCESS) cl::check_call(status, fmt::format("{}: {}", device_name_, call));
}

PinnedStaging::PinnedStaging(cl_context context, cl_command_queue queue, const std::string& device_name)
    : queue_(queue), device_name_(device_name) {
  const auto taken = [&](cl_int status, std::string_view call) {
    if (status != CL_SUCCESS)
      verify(status, fmt::format("{} of the host's memory for copies: {}", human_bytes(kBytes), call));
  };
  cl_int status = CL_SUCCESS;
  memory_ = cl::Memory(clCreateBuffer(context, CL_MEM_ALLOC_HOST_PTR, kBytes, nullptr, &status));
  taken(status, "clCreateBuffer");
  void* mapped = clEnqueueMapBuffer(queue, memory_.get(), CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, kBytes, 0, nullptr,
                                    nullptr, &status);
  taken(status, "clEnqueueMapBuffer");
  for (size_t i = 0; i < halves_.size(); ++i) halves_[i].bytes = static_cast<std::byte*>(mapped) + i * kHalf;
}

// The driver does not know whose memory its copies read and write.
PinnedStaging::~PinnedStaging() {
  for (const Half& half : halves_) cl::outlast(half.in_flight.get());
  clEnqueueUnmapMemObject(queue_, memory_.get(), halves_[0].bytes, 0, nullptr, nullptr);
}

PinnedStaging::Half& PinnedStaging::next() {
  Half& half = halves_[next_];
  next_ = (next_ + 1) % halves_.size();
  wait(half);
  return half;
}

void PinnedStaging::wait(Half& half) const {
  const cl_event event = half.in_flight.get();
  if (event == nullptr) return;
  verify(clWaitForEvents(1, &event), "clWaitForEvents");
  half.in_flight = {};
}

// A driver may leave what is enqueued alone until it is told to begin.
void PinnedStaging::began(Half& half, cl_event event) const {
  half.in_flight = cl::Event(event);
  verify(clFlush(queue_), "clFlush");
}

void PinnedStaging::upload(const OpenclMemory& to, std::span<const std::byte> src) {
  for (size_t done = 0, n = 0; done < src.size(); done += n) {
    n = std::min(kHalf, src.size() - done);
    Half& half = next();
    std::memcpy(half.bytes, src.data() + done, n);
    cl_event event = nullptr;
    verify(clEnqueueWriteBuffer(queue_, to.object, CL_FALSE, to.offset + done, n, half.bytes, 0, nullptr, &event),
           "clEnqueueWriteBuffer");
    began(half, event);
  }
}

void PinnedStaging::download(std::span<std::byte> dst, const OpenclMemory& from) {
  const auto part = [&](size_t done) { return std::min(kHalf, dst.size() - done); };
  const auto read = [&](size_t done) {
    Half& half = next();
    cl_event event = nullptr;
    verify(clEnqueueReadBuffer(queue_, from.object, CL_FALSE, from.offset + done, part(done), half.bytes, 0, nullptr,
                               &event),
           "clEnqueueReadBuffer");
    began(half, event);
    return &half;
  };
  Half* arriving = dst.empty() ? nullptr : read(0);
  for (size_t done = 0; done < dst.size(); done += kHalf) {
    Half* const here = arriving;
    if (done + kHalf < dst.size()) arriving = read(done + kHalf);
    wait(*here);
    std::memcpy(dst.data() + done, here->bytes, part(done));
  }
}

}  // namespace v4rt
