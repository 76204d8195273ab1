#pragma once

// The plain OpenCL C API with owners: a handle releases what it holds, a failing call becomes an Error with the code's
// name.

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120  // all that is used
#endif
#include <CL/cl.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/core/error.h"

namespace v4rt::cl {

std::string_view error_name(cl_int code);  // "CL_OUT_OF_RESOURCES"

// Throws Error(kDevice), or Error(kOutOfMemory) for the codes that mean it. `what` names the call and its object.
[[noreturn]] void throw_error(cl_int code, std::string_view what);
inline void check_call(cl_int code, std::string_view what) {
  if (code != CL_SUCCESS) throw_error(code, what);
}

// Until the command of the event, if there is one, is at its end: where a driver fails to wait. An event that it knows
// nothing of is that of no command.
void outlast(cl_event event);

template <class T, cl_int (*Release)(T)>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T object) : object_(object) {}
  Handle(Handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Handle() {
    if (object_ != nullptr) Release(object_);
  }
  T get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T object_ = nullptr;
};

using Context = Handle<cl_context, &clReleaseContext>;
using CommandQueue = Handle<cl_command_queue, &clReleaseCommandQueue>;
using Memory = Handle<cl_mem, &clReleaseMemObject>;
using Program = Handle<cl_program, &clReleaseProgram>;
using Function = Handle<cl_kernel, &clReleaseKernel>;
using Event = Handle<cl_event, &clReleaseEvent>;

// A device property of fixed size; `fallback` where the driver does not know the question.
template <class T>
T device_value(cl_device_id device, cl_device_info question, T fallback = {}) {
  T value = fallback;
  // NOLINTNEXTLINE(bugprone-sizeof-expression): a platform is a pointer
  return clGetDeviceInfo(device, question, sizeof(T), &value, nullptr) == CL_SUCCESS ? value : fallback;
}
std::string device_text(cl_device_id device, cl_device_info question);
std::string platform_text(cl_platform_id platform, cl_platform_info question);

}  // namespace v4rt::cl
