#pragma once

#include <memory>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/library.h"

namespace v4rt {

// What most entries of the kernel table need.

inline Support any_call(const OpCall&, const CpuDevice&) { return {}; }

inline Support matrix_support(const TensorType& weight) {
  if (weight.layout == Layout::kRows16) return {};
  return Support::no("the weight must be in rows16 layout, not " + to_string(weight));
}

// Whether to multiply with simd::library_dot_fns.
inline Support library_support(const OpCall& call, size_t x, size_t weight, const CpuDevice& device) {
  if (!device.fast()) return Support::no("its order of summation is not ours: taken only when speed is asked for");
  if (call.inputs[x].shape[0] == 1) return Support::no("a single row");
  if (simd::library_dot_fns(call.inputs[weight].dtype, call.inputs[x].dtype) == nullptr) return Support::no("needs oneDNN and bf16 rows");
  if (!simd::library_pays()) return Support::no("the exact products are faster here");
  return matrix_support(call.inputs[weight]);
}

template <class KernelT>
std::unique_ptr<Kernel> make_kernel(const OpCall& call, CpuDevice&) {
  return std::make_unique<KernelT>(call);
}

}  // namespace v4rt
