#pragma once

#include <memory>

#include "backend/cpu/kernels.h"

namespace v4rt {

// What most entries of the kernel table need.

inline Support any_call(const OpCall&, const CpuDevice&) { return {}; }

inline Support matrix_support(const TensorType& weight) {
  if (weight.layout == Layout::kRows16) return {};
  return Support::no("the weight must be in rows16 layout, not " + to_string(weight));
}

template <class KernelT>
std::unique_ptr<Kernel> make_kernel(const OpCall& call, CpuDevice&) {
  return std::make_unique<KernelT>(call);
}

}  // namespace v4rt
