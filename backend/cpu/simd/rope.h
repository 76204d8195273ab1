#pragma once

#include <cstdint>

#include "ops/core/dtype.h"

namespace v4rt::simd {

inline constexpr int64_t kMaxRopePairs = 512;  // angles wait on the stack

// cosine[i], sine[i] of float(position) * frequency[i]; the sine times `sign`.
void rope_angles(const float* frequencies, int64_t pairs, int32_t position, float sign, float* cosine, float* sine);

// One row of n elements of the activation type: rotates the last `pairs` pairs (ops/rope/rope.h), copies the others.
using RotateFn = void (*)(const void* x, int64_t n, int64_t pairs, const float* cosine, const float* sine, void* y);
RotateFn rotate_tail(DType activation);

}  // namespace v4rt::simd
