#pragma once

#include <span>
#include <string>

#include "backend/kernel_table.h"
#include "backend/opencl/opencl_device.h"

namespace v4rt {

using OpenclEntry = KernelEntry<OpenclDevice>;

std::span<const OpenclEntry> opencl_kernels();  // in order of preference

// Shared by kernels/*.cc.

// The op of a call, once select_kernel has matched its kind.
template <class OpT>
const OpT& op_of(const OpCall& call) {
  return static_cast<const OpT&>(call.op);
}

std::string define(const char* name, DType dtype);      // "ACT=bf16": names of common.cl
std::string define(const char* name, int64_t value);    // "DIM=512"

inline int32_t narrow(int64_t value) {
  check(value >= INT32_MIN && value <= INT32_MAX, Code::kUnsupported, "a dimension of {} exceeds 32 bits", value);
  return static_cast<int32_t>(value);
}

// Elements per index of the first dimension.
inline int64_t per_first(const Shape& shape) { return shape[0] == 0 ? 0 : shape.elements() / shape[0]; }

}  // namespace v4rt
