// Products of bf16 pairs (pairs.h) for many rows of x. Included once per target; empty if it lacks the instruction.
#if defined(V4RT_BACKEND_CPU_SIMD_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_PAIRS_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_PAIRS_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_PAIRS_INL_H_
#endif

#include <array>

#include "backend/cpu/simd/safe_range.h"
#include "backend/cpu/simd/tile-inl.h"
#include "backend/cpu/simd/weights-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// The sixteen-bit lanes that are not safe, infinities and NaN among them.
HWY_INLINE __mmask32 unsafe_lanes(__m512i v, uint16_t least) {
  const __m512i magnitude = _mm512_and_si512(v, _mm512_set1_epi16(0x7fff));
  const __m512i above = _mm512_sub_epi16(magnitude, _mm512_set1_epi16(static_cast<int16_t>(least)));
  const __mmask32 outside = _mm512_cmpge_epu16_mask(above, _mm512_set1_epi16(static_cast<int16_t>(0x7f80 - least)));
  return outside & _mm512_test_epi16_mask(magnitude, magnitude);
}

HWY_INLINE bool safe_x(const uint32_t* pairs, int64_t n) {
  __mmask32 bad = 0;
  for (int64_t i = 0; i < n; i += 16) bad |= unsafe_lanes(_mm512_loadu_si512(pairs + i), kLeastX);
  return bad == 0;
}

// The earlier element of a pair is the upper half, which the instruction adds first, so that chains ascend.
HWY_INLINE __m512i swap_halves(__m512i pairs) { return _mm512_rol_epi32(pairs, 16); }

// E4M3 codes without their sign, over Fp8Weights::kFactor, in bf16: lower bytes, then upper ones.
constexpr std::array<std::array<uint8_t, 128>, 2> fp8_bytes() {
  constexpr uint16_t kSmall[8] = {0, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4020, 0x4040, 0x4060};  // multiples of a half
  std::array<std::array<uint8_t, 128>, 2> bytes{};
  for (unsigned code = 0; code < 128; ++code) {
    const unsigned number = code < 8 ? kSmall[code] : code << 4 | 0x4000u;
    bytes[0][code] = static_cast<uint8_t>(number);
    bytes[1][code] = static_cast<uint8_t>(number >> 8);
  }
  return bytes;
}

// Byte i: that of the 128 in `table` at the lower seven bits of `indices` there.
HWY_INLINE __m512i look_up(__m512i indices, __m512i table, __m512i table_end) {
  asm("vpermi2b %2, %1, %0" : "+v"(indices) : "v"(table), "v"(table_end));
  return indices;
}

// The elements of a word as pairs: the values over W::kFactor are exact in bf16.
template <class W>
HWY_INLINE void unit_pairs(const uint32_t* p, __m512i (&pairs)[W::kUnit / 2]) {
  if constexpr (std::is_same_v<W, Fp8Weights>) {
    alignas(64) static constexpr auto kBytes = fp8_bytes();
    const auto part = [](int table, int half)
                          HWY_ATTR { return _mm512_load_si512(kBytes[static_cast<size_t>(table)].data() + 64 * half); };
    const __m512i codes = _mm512_loadu_si512(p), sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i lower = look_up(codes, part(0, 0), part(0, 1)), upper = look_up(codes, part(1, 0), part(1, 1));
    const __m512i with_sign = _mm512_ternarylogic_epi32(codes, sign, upper, 0xea);  // codes & sign | upper
    // Of each word of four codes the first two: the lower byte of the second, its upper one, and those of the first.
    alignas(64) static constexpr auto kPlaces = [] {
      std::array<uint8_t, 64> places{};
      for (uint8_t i = 0; i < 64; ++i) places[i] = static_cast<uint8_t>(i / 4 * 4 + (i % 4 < 2) + 64 * (i % 2));
      return places;
    }();
    const __m512i first = _mm512_load_si512(kPlaces.data());
    pairs[0] = look_up(first, lower, with_sign);
    pairs[1] = look_up(_mm512_add_epi8(first, _mm512_set1_epi8(2)), lower, with_sign);
  } else {
    F16 v[W::kUnit];
    decode_unit<W, false>(p, v);
    for (int j = 0; j < W::kUnit; j += 2) {
      const __m512i first = _mm512_castps_si512(v[j].part[0].raw), second = _mm512_castps_si512(v[j + 1].part[0].raw);
      const __m512i upper = _mm512_and_si512(first, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
      pairs[j / 2] = _mm512_or_si512(upper, _mm512_srli_epi32(second, 16));
    }
  }
}

HWY_INLINE void add_products(__m512& c, __m512i w, __m512i x) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(w), "v"(x));
}

// `units` words of one group: panel[k / 2 * stride + row]. False when some weight is not safe.
template <class W>
HWY_INLINE bool decode_pairs(const uint32_t* p, int64_t units, int64_t stride, uint32_t* panel) {
  __mmask32 bad = 0;
  for (int64_t u = 0; u < units; ++u, p += 16, panel += W::kUnit / 2 * stride) {
    if constexpr (W::kUnit == 2) {
      const __m512i pair = _mm512_loadu_si512(p);
      bad |= unsafe_lanes(pair, kLeastWeight);
      _mm512_storeu_si512(panel, swap_halves(pair));
    } else {
      __m512i pairs[W::kUnit / 2];
      unit_pairs<W>(p, pairs);
      for (int64_t i = 0; i < W::kUnit / 2; ++i) _mm512_storeu_si512(panel + i * stride, pairs[i]);
    }
  }
  return bad == 0;
}

// c[t][g]: the chain over `pairs` pairs from 0, for kRows rows of x, from pair `from` on, and kGroups groups.
template <int kGroups, int kRows>
HWY_INLINE void pair_chain(const uint32_t* panel, int64_t pairs, const uint32_t* const* x, int64_t from,
                           __m512 (&c)[kRows][kGroups]) {
  for (int t = 0; t < kRows; ++t)
    for (int g = 0; g < kGroups; ++g) c[t][g] = _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int64_t k = 0; k < pairs; ++k, panel += 16 * kGroups) {
    __m512i w[kGroups];
    for (int g = 0; g < kGroups; ++g) w[g] = _mm512_loadu_si512(panel + 16 * g);
    for (int t = 0; t < kRows; ++t) {
      const __m512i v = _mm512_set1_epi32(static_cast<int>(x[t][from + k]));
      for (int g = 0; g < kGroups; ++g) add_products(c[t][g], w[g], v);
    }
  }
}

// y[t] = fma(e + o, scale, y[t]) for a block whose chains are `n_even` and `n_odd` pairs.
template <int kGroups, int kRows>
HWY_INLINE void tile_pairs(const uint32_t* panel, int64_t n_even, int64_t n_odd, const uint32_t* const* x, int64_t at,
                           const F16 (&scale)[kGroups], float* const* y) {
  __m512 e[kRows][kGroups], o[kRows][kGroups];
  pair_chain(panel, n_even, x, at, e);
  pair_chain(panel + kDotChain / 2 * 16 * kGroups, n_odd, x, at + kDotChain / 2, o);
  for (int t = 0; t < kRows; ++t)
    for (int g = 0; g < kGroups; ++g)
      store16(fma(F16(VF{_mm512_add_ps(e[t][g], o[t][g])}), scale[g], load16(y[t] + 16 * g)), y[t] + 16 * g);
}

// Blocks of x, n elements in all, against a panel, with a scale per W::kScaleBlock elements: scales[s][g].
template <class W, int kGroups, int kRows>
void tile_pair_blocks(const uint32_t* panel, int64_t n, const uint32_t* const* x, const F16 (*scales)[kGroups],
                      float* const* y) {
  constexpr int64_t kPairs = kDotChain / 2;
  for (int64_t at = 0; at < n; at += kDotBlock) {
    const F16(&scale)[kGroups] = scales[at / W::kScaleBlock];
    const uint32_t* from = panel + at / 2 * 16 * kGroups;
    if (at + kDotBlock <= n) {
      tile_pairs<kGroups, kRows>(from, kPairs, kPairs, x, at / 2, scale, y);
    } else {
      const int64_t left = (n - at + 1) / 2, n_even = left < kPairs ? left : kPairs;
      tile_pairs<kGroups, kRows>(from, n_even, left - n_even, x, at / 2, scale, y);
    }
  }
}

#endif  // HWY_AVX3

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
