#include "backend/opencl/opencl_kernel.h"

#include <fmt/format.h>

namespace v4rt {

void OpenclFunction::set_bytes(cl_uint index, const void* value, size_t bytes) const {
  const cl_int status = clSetKernelArg(function_.get(), index, bytes, value);
  if (status != CL_SUCCESS) cl::throw_error(status, fmt::format("clSetKernelArg({}, {})", name_, index));
}

void OpenclFunction::enqueue(OpenclQueue& queue, Grid grid) const {
  const size_t global[3] = {grid.x * group_, grid.y, grid.z};
  const size_t local[3] = {group_, 1, 1};
  const cl_int status =
      clEnqueueNDRangeKernel(queue.handle(), function_.get(), 3, nullptr, global, local, 0, nullptr, nullptr);
  if (status != CL_SUCCESS) {
    fail(Code::kDevice, "clEnqueueNDRangeKernel({}, {} x {} x {} groups of {}): {} ({})", name_, grid.x, grid.y, grid.z,
         group_, cl::error_name(status), status);
  }
}

}  // namespace v4rt
