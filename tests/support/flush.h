#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "ops/core/exact_math.h"
#include "tests/support/division.h"

namespace v4rt {

// What exact_math.h makes of numbers by itself, as a function of one.
using OfOne = float (*)(float);
struct NamedFunction {
  const char* name;
  OfOne of;
};
inline constexpr NamedFunction kOfOne[] = {
    {"exp", [](float x) { return em_exp(x); }},
    {"weight", [](float x) { return em_weight(x); }},
    {"sigmoid", [](float x) { return em_sigmoid(x); }},
    {"silu", [](float x) { return em_silu(x); }},
    {"swiglu", [](float x) { return em_swiglu(x, -0x1.8p-30f, 0.0f); }},
    {"root of softplus", [](float x) { return em_sqrt(em_softplus(x)); }},
    {"FP8 scale", [](float x) { return static_cast<float>(em_fp8_scale(em_magnitude(x))); }},
    {"FP4 scale", [](float x) { return static_cast<float>(em_fp4_scale(em_magnitude(x))); }},
};

// Called, not compiled into a place where the processor's mode is another.
[[gnu::noinline]] inline void apply(OfOne function, const std::vector<float>& x, std::vector<float>& y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] = function(x[i]);
}

// The same on a processor that takes subnormal numbers for zero. False where it cannot be told to.
[[gnu::noinline]] inline bool apply_flushing(OfOne function, const std::vector<float>& x, std::vector<float>& y) {
#ifdef __SSE2__
  const unsigned kept = _mm_getcsr();
  _mm_setcsr(kept | 0x8040u);  // results, operands
  apply(function, x, y);
  _mm_setcsr(kept);
  return true;
#else
  apply(function, x, y);
  return false;
#endif
}

// How many of the floats first, first + step, .. that are not subnormal give other bits when such numbers are taken for
// zero.
inline int64_t count_flushed(OfOne function, uint32_t first, uint32_t step) {
  constexpr size_t kAtOnce = 4096;
  std::vector<float> x, kept(kAtOnce), flushed(kAtOnce);
  int64_t differ = 0;
  const auto compare = [&] {
    apply(function, x, kept);
    apply_flushing(function, x, flushed);
    for (size_t i = 0; i < x.size(); ++i) differ += same_number(kept[i], flushed[i]) ? 0 : 1;
    x.clear();
  };
  for (uint64_t u = first; u <= UINT32_MAX; u += step) {
    const float number = em_float(static_cast<em_uint>(u));
    if (em_magnitude(number) - 1u < 0x007fffffu) continue;
    x.push_back(number);
    if (x.size() == kAtOnce) compare();
  }
  compare();
  return differ;
}

}  // namespace v4rt
