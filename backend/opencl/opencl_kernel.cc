#include "backend/opencl/opencl_kernel.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/opencl/first_launch.h"

namespace v4rt {

OpenclFunction::OpenclFunction(std::shared_ptr<LateFunction> function, std::string name, size_t group)
    : function_(std::move(function)), name_(std::move(name)), group_(group) {
  set_.reserve(kMostArguments);  // a launch allocates nothing, the first one neither
  if (!function_->launched()) first_ = std::make_unique<FirstLaunch>();
}

OpenclFunction::~OpenclFunction() = default;

void OpenclFunction::set_bytes(cl_uint index, const void* value, size_t bytes, uint64_t identity) const {
  if (index < set_.size() && set_[index] == identity) return;
  const cl_int status = clSetKernelArg(function_->get(), index, bytes, value);
  if (status != CL_SUCCESS) {
    set_.resize(std::min<size_t>(set_.size(), index));  // the next launch sets it, and those after it, again
    cl::throw_error(status, fmt::format("clSetKernelArg({}, {})", name_, index));
  }
  if (index == set_.size()) set_.push_back(identity);
  set_[index] = identity;
  if (first_ != nullptr) first_->value(index, value, bytes);
}

// As large as `bytes`, if that is not 0.
void OpenclFunction::set_memory(cl_uint& index, const OpenclMemory& memory, size_t bytes) const {
  set_bytes(index, &memory.object, sizeof(cl_mem), memory.serial);
  set_bytes(index + 1, &memory.offset, sizeof(cl_ulong), memory.offset);
  if (first_ != nullptr) first_->memory(index, memory, bytes);
  index += 2;
}

void OpenclFunction::enqueue(OpenclQueue& queue, Grid grid) const {
  if (first_ != nullptr) {
    first_->grid(group_, grid);
    function_->try_launch(*first_, queue);
    first_ = nullptr;
  }
  const size_t global[3] = {grid.x * group_, grid.y, grid.z};
  const size_t local[3] = {group_, 1, 1};
  const cl_int status =
      clEnqueueNDRangeKernel(queue.handle(), function_->get(), 3, nullptr, global, local, 0, nullptr, nullptr);
  if (status != CL_SUCCESS) {
    fail(Code::kDevice, "clEnqueueNDRangeKernel({}, {} x {} x {} groups of {}): {} ({})", name_, grid.x, grid.y, grid.z,
         group_, cl::error_name(status), status);
  }
}

}  // namespace v4rt
