#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu_options.h"
#include "backend/device.h"
#include "backend/fast.h"
#include "backend/lanes.h"

namespace v4rt {

// OpenCL objects of a host program, which are retained: a cl_context, a cl_device_id of it, and a cl_command_queue of
// both that runs commands in order, or nullptr for queues of v4rt's own. What v4rt enqueues runs after what the host
// has enqueued there before.
struct HostOpencl {
  void *context = nullptr, *device = nullptr, *queue = nullptr;
};

struct DeviceOptions {
  int threads = 0;  // cpu: 0 = one per processor that the process may use
  CpuOptions cpu;
  Fast fast = Fast::kNever;                              // may take products whose order of summation is a library's
  bool measure_again = false;                            // for Fast::kAuto: replaces stored measurements
  std::function<void(std::string_view what)> measuring;  // Fast::kAuto: before each measurement; may be empty
  std::string cache_dir;                                 // compiled programs and measurements; empty = no cache on disk
  // opencl: a program and its arguments, to which the device's name is added, that calls compile_for(): processes of it
  // compile, several at once, make the first launches, try both forms of kernels, and take a driver's crash. Empty: all
  // of that is done here
  std::vector<std::string> compiler;
  // opencl: the form of its kernels; empty = what was measured to suit the device, or will be if there are a compiler
  // and a cache_dir; otherwise by its type and vectors
  std::optional<Lanes> lanes;
  // opencl: no more work-items in a work-group, and bytes that they share, than these; 0: as many as the device has
  size_t max_group = 0, local_memory = 0;
  bool own_memory = false;  // opencl: as if its memory were not the host's, for tests of what is done then
  // opencl: whether launches of one token go on with the small ops that follow. Nothing: where launches cost most, on
  // devices that are not processors. It takes fences of device scope.
  std::optional<bool> long_launches;
  HostOpencl host_opencl;  // of the device kHostOpencl
};

inline constexpr const char* kHostOpencl = "opencl:host";

// "reference", "cpu", "opencl" (the first device), "opencl:1", "opencl:1/0" (a part: a NUMA domain of it, or a
// half), "opencl:host" (options.host_opencl), or a part of a
// device's description, case ignored. Throws Error: kNotFound, with a list of the devices there are; kDevice if a
// driver failed, which may have that device; kUnsupported if the backend was not built in; kInvalidArgument when the
// host's objects do not belong together.
std::shared_ptr<Device> create_device(std::string_view name, const DeviceOptions& options = {});

// Serves a process whose DeviceOptions::compiler this one was started by, through its standard input, until that ends.
// Throws as create_device.
void compile_for(std::string_view device);
inline constexpr const char* kCompileFor = "compile-for";  // the command of the program v4rt that does so

// Where a buffer of an OpenCL device lies: at `offset` bytes of a cl_mem, which is the buffer's. Throws
// Error(kUnsupported) for buffers of other devices.
struct OpenclRange {
  void* memory;
  size_t offset;
};
OpenclRange opencl_range(const Buffer& buffer);

// Ids of tokens in the memory of an OpenCL device: n int32_t at `offset` bytes of a cl_mem of the host program's.
struct OpenclIds {
  void* memory = nullptr;
  size_t offset = 0;
  int64_t n = 0;
};

// Takes such ids over, which nobody has looked at: each is read once and checked, on the device, so that no kernel
// finds memory by a number that is none of the vocabulary's, whatever else writes to the host's memory meanwhile.
class OpenclIdReader {
 public:
  virtual ~OpenclIdReader() = default;
  // Throws Error(kInvalidArgument) unless the memory is a buffer of the device's context and has so many.
  virtual void check(const OpenclIds& ids) const = 0;
  struct Part {
    OpenclIds from;
    int64_t to;
  };
  // Enqueues: the ids of each part become elements from `to` on of `ids`; those that are none of the vocabulary's, 0.
  virtual void read(std::span<const Part> parts, Buffer& ids) = 0;
  // Waits until the last read() is done, but for nothing that was enqueued after it: the first element that came to 0
  // so, or -1.
  virtual int64_t wrong() = 0;
};
// Of a device and a queue of it, both outlive it; nullptr where they are not OpenCL's. Compiles a program.
std::unique_ptr<OpenclIdReader> create_opencl_id_reader(Device& device, Queue& queue, int64_t vocabulary);

// Every device of every backend; cheap, nothing is compiled. Drivers that fail and devices that cannot be used are
// listed as problems, one line each, with the call and its code or the reason.
struct DeviceList {
  std::vector<DeviceInfo> devices;
  std::vector<std::string> problems;
};
DeviceList list_devices(const DeviceOptions& options = {});

std::vector<std::string> built_in_backends();  // {"reference", "cpu", "opencl"}

std::vector<std::string> built_in_libraries();  // with --fast, and their versions: {"Eigen 3.4.0"}

}  // namespace v4rt
