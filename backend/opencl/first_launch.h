#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/opencl/cl.h"
#include "backend/opencl/opencl_buffer.h"
#include "backend/opencl/opencl_queue.h"
#include "backend/opencl/program_build.h"

namespace v4rt {

// The first launch of a program, as another process makes it before this one does: with the same arguments, over memory
// of its own. A driver that crashes takes that process with it.
//
// Memory is as large as what a launch may use of ours. What is small is copied: it may say how far a kernel goes. The
// rest is 0, which is an index and a count that is always there, or, where that is larger than any list of those, left
// as it is.
class FirstLaunch {
 public:
  void value(cl_uint index, const void* value, size_t bytes);
  // Arguments `index`, the memory, and `index` + 1, where in it: `bytes` of it are used, or all that follow (0).
  void memory(cl_uint index, const OpenclMemory& memory, size_t bytes);
  void grid(size_t group, Grid grid) { head_ = {group, grid.x, grid.y, grid.z, 0}; }

  std::string text(const OpenclQueue& queue) const;  // for launched(); waits for the queue

 private:
  friend std::string launched(cl_context, cl_device_id, const ProgramText&, std::string_view, std::string_view,
                              std::string_view, const std::string&);
  struct Head {
    uint64_t group, x, y, z, arguments;
  };
  struct Argument {
    uint64_t value;    // or the bytes of memory
    uint32_t bytes;    // of the value; 0: memory
    uint32_t content;  // bytes that are copied; they follow the arguments
  };
  Head head_{};
  std::vector<Argument> arguments_;
  std::vector<OpenclMemory> memory_;  // of arguments_
};

// Makes a launch, in the other process. `binary` is that of the program, if there is one; `name`, that of the kernel.
// Returns an answer to Compilers.
std::string launched(cl_context context, cl_device_id device, const ProgramText& text, std::string_view binary,
                     std::string_view name, std::string_view launch, const std::string& device_name);

}  // namespace v4rt
