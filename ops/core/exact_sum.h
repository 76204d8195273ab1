#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "ops/core/exact_math.h"

namespace v4rt {

// The scalar form of the two orders of summation that exact_math.h defines. Kernels reproduce them; references call
// them.

// Folds 64 lane sums by halves.
inline float fold64(std::array<float, 64>& lanes) {
  for (size_t half = 32; half > 0; half /= 2)
    for (size_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

// sum64 of a[i] * b[i], products by fma.
inline float dot64(std::span<const float> a, std::span<const float> b) {
  std::array<float, 64> lanes{};
  for (size_t i = 0; i < a.size(); ++i) lanes[i % 64] = em_fma(a[i], b[i], lanes[i % 64]);
  return fold64(lanes);
}

inline float sum64(std::span<const float> a) {
  std::array<float, 64> lanes{};
  for (size_t i = 0; i < a.size(); ++i) lanes[i % 64] += a[i];
  return fold64(lanes);
}

// dot: blocks of two chains.
inline constexpr int kDotChain = 16, kDotBlock = 2 * kDotChain;

inline float dot(std::span<const float> x, std::span<const float> w) {
  float total = 0;
  for (size_t begin = 0; begin < x.size(); begin += kDotBlock) {
    float chain[2] = {0, 0};
    for (size_t i = 0; i < kDotBlock && begin + i < x.size(); ++i) {
      float& c = chain[i / kDotChain];
      c = em_fma(x[begin + i], w[begin + i], c);
    }
    total += chain[0] + chain[1];
  }
  return total;
}

}  // namespace v4rt
