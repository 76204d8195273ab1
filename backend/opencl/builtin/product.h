#pragma once

#include <mutex>
#include <span>
#include <string_view>

#include "backend/opencl/opencl_buffer.h"
#include "backend/opencl/opencl_queue.h"

namespace v4rt {

// A matrix product that drivers have built in: C [m, n] = A [m, k] B [k, n], all of them dense row-major F32. Its
// arguments are A, B, C and m, n, k as 32-bit numbers, its work-items n by m.
struct BuiltinProduct {
  std::string_view name;    // among CL_DEVICE_BUILT_IN_KERNELS
  int64_t multiple;         // of m, n and k; divides sixteen (Layout::kDense)
  size_t group_n, group_m;  // work-items of a work-group
};
std::span<const BuiltinProduct> known_products();  // in order of preference

// The first known one among a device's kernels, or nullptr.
const BuiltinProduct* product_among(std::span<const std::string> kernels);

// A product as one device runs it.
class BuiltinFunction {
 public:
  struct Range {  // of a cl_mem; `at` is where sub-buffers may begin
    cl_mem object;
    size_t at, bytes;
  };

  BuiltinFunction(cl_context context, cl_device_id device, const BuiltinProduct& product, std::string device_name);
  void operator()(OpenclQueue& queue, const Range& a, const Range& b, const Range& c, int64_t m, int64_t n,
                  int64_t k) const;

 private:
  const BuiltinProduct& product_;
  std::string name_;  // with the device's, for errors
  cl::Program program_;
  cl::Function kernel_;
  mutable std::mutex mutex_;  // arguments are part of a cl_kernel
};

}  // namespace v4rt
