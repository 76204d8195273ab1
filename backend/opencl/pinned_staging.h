#pragma once

#include <array>
#include <span>
#include <string>

#include "backend/opencl/cl.h"
#include "backend/opencl/opencl_buffer.h"

namespace v4rt {

// Memory of the host's that a device with memory of its own reads and writes by itself. Copies of other memory go
// through its two halves in turn: while the device is at one, the host fills or empties the other. Belongs to one
// queue.
class PinnedStaging {
 public:
  static constexpr size_t kHalf = size_t{4} << 20, kBytes = 2 * kHalf;

  PinnedStaging(cl_context context, cl_command_queue queue, const std::string& device_name);
  ~PinnedStaging();  // waits for the copies
  PinnedStaging(const PinnedStaging&) = delete;
  PinnedStaging& operator=(const PinnedStaging&) = delete;

  void upload(const OpenclMemory& to, std::span<const std::byte> src);  // src is free on return
  void download(std::span<std::byte> dst, const OpenclMemory& from);    // dst is filled on return

 private:
  struct Half {
    std::byte* bytes = nullptr;
    cl::Event in_flight;
  };
  void verify(cl_int status, std::string_view call) const;
  Half& next();  // free to be used
  void wait(Half& half) const;
  void began(Half& half, cl_event event) const;

  const cl_command_queue queue_;
  const std::string device_name_;
  cl::Memory memory_;
  std::array<Half, 2> halves_;
  size_t next_ = 0;
};

}  // namespace v4rt
