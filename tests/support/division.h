#pragma once

#include <cmath>
#include <cstdint>
#include <random>

#include "ops/core/exact_math.h"

namespace v4rt {

// em_div and em_sqrt on a device whose own operations are `error` floats off.
inline float floats_away(float x, int error) { return em_float(em_bits(x) + static_cast<uint32_t>(error)); }
inline float divided(float a, float b, int error) {
  return em_quotient(a, b, floats_away(em_mantissa(a) / em_mantissa(b), error));
}
inline float root(float x, int error) { return em_root(x, floats_away(std::sqrt(em_radicand(x)), error)); }
inline constexpr int kDivisionError = 3, kRootError = 4;

// The same bits, or both NaN.
inline bool same_number(float a, float b) { return em_bits(a) == em_bits(b) || (std::isnan(a) && std::isnan(b)); }

// Any bits, but mostly subnormal, tiny and huge numbers, and mantissas that are short or near either end.
inline float any_number(std::mt19937_64& random) {
  const uint64_t drawn = random();
  const auto u = static_cast<uint32_t>(drawn);
  switch (drawn >> 61) {
    case 0: return em_float(u & 0x807fffffu);
    case 1: return em_float(u & 0x83800007u);
    case 2: return em_float(u | 0x7f000000u);
    case 3: return em_float(u | 0x007ffff0u);
    case 4: return em_float(u & ~0x007ffff0u);
    case 5: return em_float(u & 0xfffff000u);
    default: return em_float(u);
  }
}

}  // namespace v4rt
