#pragma once

#include <cstdint>

#include "ops/core/dtype.h"
#include "ops/hyper/hyper.h"

namespace v4rt::simd {

// One token of ops/hyper/hyper.h: v is its m streams of d values, in the activation type.
struct HyperFns {
  // out[i] = dot64(v, fn[row i]) for i < n rows of fn, `width` = m * d.
  void (*dots)(const void* v, const float* fn, int64_t width, int64_t n, float* out);
  float (*sum_of_squares)(const void* v, int64_t width);
  // x[c] = round(sum over j of weight[j] * v[j, c]) for c in [begin, end).
  void (*collapse)(const void* v, const float* weight, int64_t m, int64_t d, int64_t begin, int64_t end, void* x);
  // out[k, c] of hc_post for c in [begin, end).
  void (*post)(const void* f, const void* v, const float* mix, int64_t m, int64_t d, int64_t begin, int64_t end,
               void* out);
};
const HyperFns& hyper(DType activation);

inline constexpr int kMaxStreams = 16;  // of either function below

// From raw dots and the sum of squares to pre | post | comb, in place.
void hyper_mix(const HyperSpec& spec, float sum_of_squares, int64_t width, const float* scale, const float* base,
               float* mix);
// Likewise to the weights of the head.
void hyper_head(const HyperSpec& spec, float sum_of_squares, int64_t width, const float* scale, const float* base,
                float* mix);

}  // namespace v4rt::simd
