#pragma once

// Scalar access to activations. Always inlined: these are called from loops that are compiled once per instruction set.

#include <cstdint>

#include "ops/core/exact_math.h"

namespace v4rt::simd {

struct Bf16 {
  uint16_t bits;
};

[[gnu::always_inline]] inline float load(const float* p) { return *p; }
[[gnu::always_inline]] inline float load(const Bf16* p) { return em_float(static_cast<uint32_t>(p->bits) << 16); }
[[gnu::always_inline]] inline void store(float x, float* p) { *p = x; }
[[gnu::always_inline]] inline void store(float x, Bf16* p) {
  p->bits = static_cast<uint16_t>(em_bits(em_bf16(x)) >> 16);
}

// What storing x as T and loading it again gives.
template <class T>
[[gnu::always_inline]] inline float rounded(float x) {
  T stored;
  store(x, &stored);
  return load(&stored);
}

}  // namespace v4rt::simd
