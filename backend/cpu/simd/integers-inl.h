// FP4 weights times numbers that are small integers of a common unit, like activations that went through FP8. The sum
// of a block is then an integer below 2^24, exact in any order, so adding up bytes four at a time gives the bits of
// exact_math.h's dot. Included once per target; empty if it lacks the instructions.
#if defined(V4RT_BACKEND_CPU_SIMD_INTEGERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_INTEGERS_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_INTEGERS_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_INTEGERS_INL_H_
#endif

#include <hwy/cache_control.h>

#include "backend/cpu/simd/weights-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// Units from 2^-80 to 2^80 keep every product, and its product with a scale's lower half of range, normal.
constexpr float kLeastUnit = 0x1p-80f, kLargestUnit = 0x1p80f;
constexpr int32_t kLargestWeight = 12;  // in units of a half

// The largest power of two that divides each number; a huge one for zero.
HWY_INLINE __m512 units_of(__m512i bits) {
  const __m512i mantissa =
      _mm512_or_si512(_mm512_and_si512(bits, _mm512_set1_epi32(0x007f0000)), _mm512_set1_epi32(0x00800000));
  const __m512i last = _mm512_and_si512(mantissa, _mm512_sub_epi32(_mm512_setzero_si512(), mantissa));
  const __m512 power = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(0x7f800000)));
  const __m512 unit = _mm512_mul_ps(_mm512_mul_ps(power, _mm512_cvtepi32_ps(last)), _mm512_set1_ps(0x1p-23f));
  return _mm512_mask_mov_ps(_mm512_set1_ps(0x1p127f), _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7fffffff)),
                            unit);
}

// x: 32 bf16 numbers as floats.
HWY_INLINE void pack_integers(const float* x, Integers& to) {
  const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
  const __m512i sign = _mm512_set1_epi32(0x7fffffff);
  const __m512i largest =
      _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), sign), _mm512_and_si512(_mm512_castps_si512(b), sign));
  const int32_t bound = _mm512_reduce_max_epi32(largest);
  to.limbs = 0;
  if (bound >= static_cast<int32_t>(em_bits(kLargestUnit))) return;
  const float least =
      _mm512_reduce_min_ps(_mm512_min_ps(units_of(_mm512_castps_si512(a)), units_of(_mm512_castps_si512(b))));
  const float unit = bound == 0 ? 1.0f : least;
  if (unit < kLeastUnit || em_float(static_cast<uint32_t>(bound)) >= unit * 0x1p21f) return;
  const __m512 inverse = _mm512_set1_ps(1.0f / unit);
  const __m512i m = _mm512_cvtps_epi32(_mm512_mul_ps(a, inverse)), n = _mm512_cvtps_epi32(_mm512_mul_ps(b, inverse));
  if (_mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_abs_epi32(m), _mm512_abs_epi32(n))) > (1 << 24) / kLargestWeight)
    return;
  to.offset = -kLargestWeight * _mm512_reduce_add_epi32(_mm512_add_epi32(m, n));
  to.scale = unit / 2 / Fp4Weights::kFactor;
  const __m256i even_first = _mm256_set_epi8(15, 13, 11, 9, 14, 12, 10, 8, 7, 5, 3, 1, 6, 4, 2, 0, 15, 13, 11, 9, 14,
                                             12, 10, 8, 7, 5, 3, 1, 6, 4, 2, 0);
  __m512i lower = m, upper = n;
  for (auto& limb : to.limb) {
    const __m256i bytes = _mm256_set_m128i(_mm512_cvtepi32_epi8(upper), _mm512_cvtepi32_epi8(lower));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(limb), _mm256_shuffle_epi8(bytes, even_first));
    lower = _mm512_srai_epi32(_mm512_add_epi32(lower, _mm512_set1_epi32(128)), 8);
    upper = _mm512_srai_epi32(_mm512_add_epi32(upper, _mm512_set1_epi32(128)), 8);
  }
  const auto is_zero = [&](int limb) HWY_ATTR {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(to.limb[limb]));
    return _mm256_testz_si256(bytes, bytes) != 0;
  };
  to.limbs = !is_zero(2) ? 3 : !is_zero(1) ? 2 : 1;
}

HWY_INLINE void add_products(__m512i& sum, __m512i weights, const int8_t* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(weights), "m"(*reinterpret_cast<const int32_t*>(x)));
}
HWY_INLINE void add_products(__m512i& sum, __m512i weights, __m512i x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(x));
}
HWY_INLINE __m512i look_up(__m512i indices, __m512i table) {
  __m512i bytes;
  asm("vpermb %2, %1, %0" : "=v"(bytes) : "v"(indices), "v"(table));
  return bytes;
}

// The even and the odd codes of the eight in each word, in halves and twelve too large.
HWY_INLINE void decode_bytes(const uint32_t* p, __m512i& even, __m512i& odd) {
  const __m512i table =
      _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  const __m512i words = _mm512_loadu_si512(p);
  even = look_up(words, table);
  odd = look_up(_mm512_srli_epi32(words, 4), table);
}

// Sums over one block of 32 of each of kRows rows of x, for sixteen rows of weights. Single variables, because arrays
// would be in memory.
template <bool kThreeLimbs, int kRows>
struct IntegerSums {
  __m512i low, middle, high;
  IntegerSums<kThreeLimbs, kRows - 1> rest;

  HWY_INLINE void start(const Integers* const* x) {
    low = _mm512_set1_epi32(x[0]->offset);
    middle = high = _mm512_setzero_si512();
    rest.start(x + 1);
  }
  // Codes k .. k + 7 of each weight.
  HWY_INLINE void add(__m512i even, __m512i odd, const Integers* const* x, int k) {
    add_products(low, even, x[0]->limb[0] + k);
    add_products(low, odd, x[0]->limb[0] + k + 4);
    add_products(middle, even, x[0]->limb[1] + k);
    add_products(middle, odd, x[0]->limb[1] + k + 4);
    if constexpr (kThreeLimbs) {
      add_products(high, even, x[0]->limb[2] + k);
      add_products(high, odd, x[0]->limb[2] + k + 4);
    }
    rest.add(even, odd, x + 1, k);
  }
  // Over Fp4Weights::kFactor; to[r * stride] is of row r.
  HWY_INLINE void finish(const Integers* const* x, F16* to, int64_t stride) const {
    __m512i upper = middle;
    if constexpr (kThreeLimbs) upper = _mm512_add_epi32(_mm512_slli_epi32(high, 8), middle);
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(upper, 8), low);
    *to = F16(VF{_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(x[0]->scale))});
    rest.finish(x + 1, to + stride, stride);
  }
};
template <bool kThreeLimbs>
struct IntegerSums<kThreeLimbs, 0> {
  HWY_INLINE void start(const Integers* const*) {}
  HWY_INLINE void add(__m512i, __m512i, const Integers* const*, int) {}
  HWY_INLINE void finish(const Integers* const*, F16*, int64_t) const {}
};

template <bool kThreeLimbs, int kRows>
HWY_INLINE void sum_integers(const uint32_t* p, int64_t far, const Integers* const (&x)[kRows], F16* to,
                             int64_t stride) {
  IntegerSums<kThreeLimbs, kRows> sums;
  sums.start(x);
#pragma GCC unroll 4
  for (int k = 0; k < 32; k += 8, p += 16) {
    __m512i even, odd;
    decode_bytes(p, even, odd);
    fetch(p, far);
    sums.add(even, odd, x, k);
  }
  sums.finish(x, to, stride);
}

#endif  // HWY_AVX3

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
