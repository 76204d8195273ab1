#pragma once

#include <cstdint>

#include "ops/core/dtype.h"

namespace v4rt::simd {

// One row of n elements; x and y have the activation type and may be the same. ops/norm/norm.h has the formulas.
using RmsNormFn = void (*)(const void* x, const void* w, int64_t n, float eps, void* y);
using HeadRmsFn = void (*)(const void* q, int64_t n, float eps, void* y);

RmsNormFn rms_norm(DType activation, DType weight);
HeadRmsFn head_rms(DType activation);

}  // namespace v4rt::simd
