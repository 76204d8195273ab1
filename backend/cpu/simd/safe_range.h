#pragma once

#include <cstdint>

namespace v4rt::simd {

// Upper halves of magnitudes that keep products and sums away from subnormal numbers, which some units take for zero: a
// number is safe when it is zero or of such a magnitude. All sums within a block are then multiples of a number above
// 2^-126. Weights: 2^-50 and more, x: 2^-60 and more. Below kMostSafe no sum within a block comes to infinity.
inline constexpr uint16_t kLeastWeight = (127 - 50) << 7, kLeastX = (127 - 60) << 7, kMostSafe = (127 + 60) << 7;

}  // namespace v4rt::simd
