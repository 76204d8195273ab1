#include "backend/opencl/builtin/product.h"

#include <algorithm>
#include <array>

namespace v4rt {
namespace {

// A buffer of its own for a part of one: what a kernel takes has no offset.
cl::Memory part_of(const BuiltinFunction::Range& range, std::string_view name) {
  const cl_buffer_region region{range.at, range.bytes};
  cl_int status = CL_SUCCESS;
  cl::Memory part(clCreateSubBuffer(range.object, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status));
  cl::check_call(status, fmt::format("{}: clCreateSubBuffer", name));
  return part;
}

}  // namespace

std::span<const BuiltinProduct> known_products() {
  static constexpr std::array<BuiltinProduct, 1> kProducts{{
      {.name = "pocl.sgemm.local.f32", .multiple = 16, .group_n = 16, .group_m = 16},
  }};
  return kProducts;
}

const BuiltinProduct* product_among(std::span<const std::string> kernels) {
  const auto known = known_products();
  const auto found = std::ranges::find_if(
      known, [&](const BuiltinProduct& p) { return std::ranges::find(kernels, p.name) != kernels.end(); });
  return found == known.end() ? nullptr : &*found;
}

BuiltinFunction::BuiltinFunction(cl_context context, cl_device_id device, const BuiltinProduct& product,
                                 std::string device_name)
    : product_(product), name_(fmt::format("{}: {}", device_name, product.name)) {
  const std::string kernel(product.name);
  cl_int status = CL_SUCCESS;
  program_ = cl::Program(clCreateProgramWithBuiltInKernels(context, 1, &device, kernel.c_str(), &status));
  cl::check_call(status, name_ + ": clCreateProgramWithBuiltInKernels");
  kernel_ = cl::Function(clCreateKernel(program_.get(), kernel.c_str(), &status));
  cl::check_call(status, name_ + ": clCreateKernel");
}

void BuiltinFunction::operator()(OpenclQueue& queue, const Range& a, const Range& b, const Range& c, int64_t m,
                                 int64_t n, int64_t k) const {
  const std::lock_guard lock(mutex_);
  cl_uint index = 0;
  const auto set = [&](const auto& value) {
    // NOLINTNEXTLINE(bugprone-sizeof-expression): a cl_mem is a pointer
    const cl_int status = clSetKernelArg(kernel_.get(), index, sizeof(value), &value);
    cl::check_call(status, fmt::format("{}: clSetKernelArg({})", name_, index));
    ++index;
  };
  std::array<cl::Memory, 3> parts;  // commands that use them keep them
  const Range* const ranges[] = {&a, &b, &c};
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i] = part_of(*ranges[i], name_);
    set(parts[i].get());
  }
  for (const int64_t size : {m, n, k}) set(static_cast<cl_uint>(size));
  const size_t global[] = {static_cast<size_t>(n), static_cast<size_t>(m)};
  const size_t local[] = {product_.group_n, product_.group_m};
  cl::check_call(clEnqueueNDRangeKernel(queue.handle(), kernel_.get(), 2, nullptr, global, local, 0, nullptr, nullptr),
                 fmt::format("{}: clEnqueueNDRangeKernel, {} x {} x {}", name_, m, n, k));
}

}  // namespace v4rt
