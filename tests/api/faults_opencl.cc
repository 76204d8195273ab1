// The OpenCL calls of faults.cc: those that the library makes, each as it is or failing as a driver would.

#include <dlfcn.h>

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <cstdlib>
#include <string_view>

#include "tests/api/faults.h"

namespace {

// The driver's own call, which is spared: it takes memory and starts threads as it likes.
template <class R, class... A>
auto next(R (*)(A...), const char* name) {
  return [call = reinterpret_cast<R (*)(A...)>(dlsym(RTLD_NEXT, name))](auto... arguments) {
    const faults::Spared driver;
    return call(arguments...);
  };
}

// What a driver says when a call fails.
cl_int failure_of(std::string_view call) {
  if (call == "clBuildProgram") return CL_BUILD_PROGRAM_FAILURE;
  if (call == "clCreateBuffer") return CL_MEM_OBJECT_ALLOCATION_FAILURE;
  return call.starts_with("clCreate") ? CL_OUT_OF_HOST_MEMORY : CL_OUT_OF_RESOURCES;
}

}  // namespace

// A call that returns its status; one that also makes an event, if that is asked for; one that returns an object and
// its status through the last argument; one that gives an object back, which never fails here, as a program could not
// go on.
#define RETURNS_STATUS(name, parameters, arguments)                        \
  extern "C" cl_int name parameters {                                      \
    static const auto real = next(&name, #name);                           \
    return faults::opencl_due(#name) ? failure_of(#name) : real arguments; \
  }
#define MAKES_EVENT(name, parameters, arguments)                        \
  extern "C" cl_int name parameters {                                   \
    static const auto real = next(&name, #name);                        \
    if (faults::opencl_due(#name)) return failure_of(#name);            \
    const cl_int status = real arguments;                               \
    if (status == CL_SUCCESS && e != nullptr) ++faults::opencl_objects; \
    return status;                                                      \
  }
#define RETURNS_OBJECT(type, name, parameters, arguments) \
  extern "C" type name parameters {                       \
    static const auto real = next(&name, #name);          \
    if (!faults::opencl_due(#name)) {                     \
      const type made = real arguments;                   \
      if (made != nullptr) ++faults::opencl_objects;      \
      return made;                                        \
    }                                                     \
    if (status != nullptr) *status = failure_of(#name);   \
    return nullptr;                                       \
  }
#define RELEASES(name, type)                     \
  extern "C" cl_int name(type object) {          \
    static const auto real = next(&name, #name); \
    --faults::opencl_objects;                    \
    return real(object);                         \
  }
#define RETAINS(name, type)                      \
  extern "C" cl_int name(type object) {          \
    static const auto real = next(&name, #name); \
    ++faults::opencl_objects;                    \
    return real(object);                         \
  }

RETAINS(clRetainContext, cl_context)
RETAINS(clRetainCommandQueue, cl_command_queue)
RELEASES(clReleaseContext, cl_context)
RELEASES(clReleaseCommandQueue, cl_command_queue)
RELEASES(clReleaseMemObject, cl_mem)
RELEASES(clReleaseProgram, cl_program)
RELEASES(clReleaseKernel, cl_kernel)
RELEASES(clReleaseEvent, cl_event)
RETURNS_STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id* ids, cl_uint* found), (n, ids, found))
RETURNS_STATUS(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id* ids, cl_uint* found),
               (p, t, n, ids, found))
// With V4RT_TEST_OWN_MEMORY a device's memory is not the host's, whatever the driver says.
extern "C" cl_int clGetDeviceInfo(cl_device_id d, cl_device_info i, size_t n, void* v, size_t* r) {
  static const auto real = next(&clGetDeviceInfo, "clGetDeviceInfo");
  static const bool own_memory = std::getenv("V4RT_TEST_OWN_MEMORY") != nullptr;
  if (faults::opencl_due("clGetDeviceInfo")) return failure_of("clGetDeviceInfo");
  const cl_int status = real(d, i, n, v, r);
  if (own_memory && i == CL_DEVICE_HOST_UNIFIED_MEMORY && v != nullptr) *static_cast<cl_bool*>(v) = CL_FALSE;
  return status;
}
RETURNS_STATUS(clGetProgramInfo, (cl_program p, cl_program_info i, size_t n, void* v, size_t* r), (p, i, n, v, r))
RETURNS_STATUS(clBuildProgram,
               (cl_program p, cl_uint n, const cl_device_id* ds, const char* o, void (*f)(cl_program, void*), void* u),
               (p, n, ds, o, f, u))
RETURNS_STATUS(clSetKernelArg, (cl_kernel k, cl_uint i, size_t n, const void* v), (k, i, n, v))
MAKES_EVENT(clEnqueueNDRangeKernel,
            (cl_command_queue q, cl_kernel k, cl_uint d, const size_t* o, const size_t* g, const size_t* l, cl_uint n,
             const cl_event* w, cl_event* e),
            (q, k, d, o, g, l, n, w, e))
MAKES_EVENT(clEnqueueReadBuffer,
            (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, void* p, cl_uint n, const cl_event* w,
             cl_event* e),
            (q, m, b, o, s, p, n, w, e))
MAKES_EVENT(clEnqueueWriteBuffer,
            (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, const void* p, cl_uint n, const cl_event* w,
             cl_event* e),
            (q, m, b, o, s, p, n, w, e))
MAKES_EVENT(clEnqueueFillBuffer,
            (cl_command_queue q, cl_mem m, const void* p, size_t ps, size_t o, size_t s, cl_uint n, const cl_event* w,
             cl_event* e),
            (q, m, p, ps, o, s, n, w, e))
MAKES_EVENT(clEnqueueCopyBuffer,
            (cl_command_queue q, cl_mem a, cl_mem b, size_t ao, size_t bo, size_t s, cl_uint n, const cl_event* w,
             cl_event* e),
            (q, a, b, ao, bo, s, n, w, e))
MAKES_EVENT(clEnqueueUnmapMemObject, (cl_command_queue q, cl_mem m, void* p, cl_uint n, const cl_event* w, cl_event* e),
            (q, m, p, n, w, e))
extern "C" void* clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool b, cl_map_flags f, size_t o, size_t s,
                                    cl_uint n, const cl_event* w, cl_event* e, cl_int* status) {
  static const auto real = next(&clEnqueueMapBuffer, "clEnqueueMapBuffer");
  if (!faults::opencl_due("clEnqueueMapBuffer")) return real(q, m, b, f, o, s, n, w, e, status);
  *status = CL_MAP_FAILURE;
  return nullptr;
}
RETURNS_STATUS(clWaitForEvents, (cl_uint n, const cl_event* events), (n, events))
RETURNS_STATUS(clGetPlatformInfo, (cl_platform_id p, cl_platform_info i, size_t n, void* v, size_t* r), (p, i, n, v, r))
RETURNS_STATUS(clGetProgramBuildInfo,
               (cl_program p, cl_device_id d, cl_program_build_info i, size_t n, void* v, size_t* r),
               (p, d, i, n, v, r))
RETURNS_STATUS(clGetKernelInfo, (cl_kernel k, cl_kernel_info i, size_t n, void* v, size_t* r), (k, i, n, v, r))
RETURNS_STATUS(clGetKernelWorkGroupInfo,
               (cl_kernel k, cl_device_id d, cl_kernel_work_group_info i, size_t n, void* v, size_t* r),
               (k, d, i, n, v, r))
RETURNS_STATUS(clFlush, (cl_command_queue q), (q))
RETURNS_STATUS(clFinish, (cl_command_queue q), (q))  // what was enqueued goes on
RETURNS_STATUS(clSetMemObjectDestructorCallback, (cl_mem m, void (*f)(cl_mem, void*), void* u), (m, f, u))
RETURNS_OBJECT(cl_context, clCreateContext,
               (const cl_context_properties* p, cl_uint n, const cl_device_id* ds,
                void (*f)(const char*, const void*, size_t, void*), void* u, cl_int* status),
               (p, n, ds, f, u, status))
RETURNS_OBJECT(cl_command_queue, clCreateCommandQueue,
               (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int* status), (c, d, p, status))
RETURNS_OBJECT(cl_mem, clCreateBuffer, (cl_context c, cl_mem_flags f, size_t n, void* p, cl_int* status),
               (c, f, n, p, status))
RETURNS_OBJECT(cl_program, clCreateProgramWithSource,
               (cl_context c, cl_uint n, const char** s, const size_t* l, cl_int* status), (c, n, s, l, status))
RETURNS_OBJECT(cl_program, clCreateProgramWithBinary,
               (cl_context c, cl_uint n, const cl_device_id* d, const size_t* l, const unsigned char** b, cl_int* bs,
                cl_int* status),
               (c, n, d, l, b, bs, status))
RETURNS_OBJECT(cl_kernel, clCreateKernel, (cl_program p, const char* n, cl_int* status), (p, n, status))
