// How sixteen rows of each weight type (Layout::kRows16) become floats. Included once per target.
#if defined(V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_
#endif

#include <type_traits>

#include "backend/cpu/simd/dot.h"
#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// Widens small floats: `u` holds the sign in bit 31 and the rest of the code where a float has its low exponent and
// high mantissa bits, selected by kCode. The exponent gets the bias 128, so the result is the value times a power of
// two, which W::kFactor undoes. That is right unless the code is subnormal.
template <uint32_t kCode>
HWY_INLINE VF widen_normal(VU u) {
  const VU code = hn::Set(DU(), kCode | 0x80000000u), bias = hn::Set(DU(), 128u << 23);
#if HWY_TARGET == HWY_AVX3
  return hn::BitCast(DF(), VU{_mm512_ternarylogic_epi32(u.raw, code.raw, bias.raw, 0xea)});
#else
  return hn::BitCast(DF(), hn::Or(hn::And(u, code), bias));
#endif
}

// The same for every finite code. A subnormal one has no implicit leading one, so 2 (1 + m) becomes 2 * that - 4 = 4 m.
template <uint32_t kCode, uint32_t kExponent>
HWY_INLINE VF widen_any(VU u) {
  const VF normal = widen_normal<kCode>(u), two = hn::Set(DF(), 2.0f);
  const VU four = hn::Or(hn::And(u, hn::Set(DU(), 0x80000000u)), hn::Set(DU(), 0x40800000u));
#if HWY_TARGET == HWY_AVX3
  const __mmask16 subnormal = _mm512_testn_epi32_mask(u.raw, _mm512_set1_epi32(kExponent));
  return VF{_mm512_mask_fmsub_ps(normal.raw, subnormal, two.raw, _mm512_castsi512_ps(four.raw))};
#else
  const auto subnormal = hn::Eq(hn::And(u, hn::Set(DU(), kExponent)), hn::Zero(DU()));
  return hn::IfThenElse(hn::RebindMask(DF(), subnormal), hn::MulSub(normal, two, hn::BitCast(DF(), four)), normal);
#endif
}

// Arithmetic shift: the sign spreads down over bits that the caller masks away.
template <int kLeft, int kRight>
HWY_INLINE VU place(VU w) {
  VU top = w;
  if constexpr (kLeft != 0) top = hn::ShiftLeft<kLeft>(w);
  return hn::BitCast(DU(), hn::ShiftRight<kRight>(hn::BitCast(DI(), top)));
}

// Weights that are read once are prefetched twice: kFar words ahead into the second-level cache, because hardware
// prefetching stops at each page, and kNear words ahead into the first, which has no room for more.
inline constexpr int64_t kFar = 64 * 16, kNear = 8 * 16;
HWY_INLINE void fetch(const uint32_t* p, int64_t far) {
  __builtin_prefetch(p + far, 0, 2);
  __builtin_prefetch(p + kNear, 0, 3);
}

// A word holds kUnit elements of k. decode<J, kCareful>(p) is element J of the words at p, sixteen rows, as value /
// kFactor. rare(p): the words have codes that only a careful decode gets right. kScaleBlock elements share a scale.

struct Fp8Weights {
  static constexpr int kUnit = 4, kScaleBlock = 128;
  static constexpr float kFactor = 0x1p-8f;
  static HWY_INLINE bool rare(const uint32_t* p) {  // a code whose exponent is zero
#if HWY_TARGET == HWY_AVX3
    return _mm512_testn_epi8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8(0x78)) != 0;
#elif HWY_TARGET == HWY_SCALAR
    (void)p;
    return true;
#else
    const hn::Repartition<uint8_t, DU> bytes;
    for (size_t i = 0; i < kParts; ++i) {
      const auto exponents =
          hn::And(hn::BitCast(bytes, hn::LoadU(DU(), p + i * kLanes)), hn::Set(bytes, uint8_t{0x78}));
      if (!hn::AllFalse(bytes, hn::Eq(exponents, hn::Zero(bytes)))) return true;
    }
    return false;
#endif
  }
  template <int J, bool kCareful = true>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR {
      const VU u = place<24 - 8 * J, 4>(hn::LoadU(DU(), p + i * kLanes));
      return kCareful ? widen_any<0x07f00000u, 0x07800000u>(u) : widen_normal<0x07f00000u>(u);
    });
  }
};

struct Fp4Weights {
  static constexpr int kUnit = 8, kScaleBlock = 32;
  static constexpr float kFactor = 0x1p-2f;
  static HWY_INLINE bool rare(const uint32_t*) { return false; }
  template <int J, bool = true>
  static HWY_INLINE F16 decode(const uint32_t* p) {
#if HWY_TARGET == HWY_AVX3  // permutations look at the low four bits of an index alone
    const __m512 table = _mm512_setr_ps(0, 2, 4, 6, 8, 12, 16, 24, -0.0f, -2, -4, -6, -8, -12, -16, -24);
    const __m512i words = _mm512_loadu_si512(p);
    return F16(VF{_mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * J), table)});
#elif HWY_TARGET == HWY_AVX2  // and here at the low three
    const __m256 table = _mm256_setr_ps(0, 2, 4, 6, 8, 12, 16, 24);
    return each([&](size_t i) HWY_ATTR {
      const VU w = hn::LoadU(DU(), p + i * kLanes);
      const __m256 magnitude = _mm256_permutevar8x32_ps(table, hn::ShiftRight<4 * J>(w).raw);
      return hn::Or(VF{magnitude},
                    hn::BitCast(DF(), hn::And(hn::ShiftLeft<28 - 4 * J>(w), hn::Set(DU(), 0x80000000u))));
    });
#else
    return each([&](size_t i) HWY_ATTR {
      return widen_any<0x01c00000u, 0x01800000u>(place<28 - 4 * J, 6>(hn::LoadU(DU(), p + i * kLanes)));
    });
#endif
  }
};

struct Bf16Weights {
  static constexpr int kUnit = 2, kScaleBlock = 128;
  static constexpr float kFactor = 1;
  static HWY_INLINE bool rare(const uint32_t*) { return false; }
  template <int J, bool = true>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR {
      const VU w = hn::LoadU(DU(), p + i * kLanes);
      return hn::BitCast(DF(), J == 0 ? hn::ShiftLeft<16>(w) : hn::And(w, hn::Set(DU(), 0xffff0000u)));
    });
  }
};

struct F16Weights {
  static constexpr int kUnit = 2, kScaleBlock = 128;
  static constexpr float kFactor = 0x1p-16f;
  static HWY_INLINE bool rare(const uint32_t*) { return false; }
  template <int J, bool = true>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR {
      const VU u = place<16 - 16 * J, 3>(hn::LoadU(DU(), p + i * kLanes));
      const VF finite = widen_any<0x0fffe000u, 0x0f800000u>(u);
      const VU exponent = hn::Set(DU(), 0x0f800000u), code = hn::And(u, hn::Set(DU(), 0x8fffe000u));
      const VU infinite = hn::Or(code, hn::Set(DU(), 0x7f800000u));  // or NaN
      const auto special = hn::Eq(hn::And(u, exponent), exponent);
      return hn::IfThenElse(hn::RebindMask(DF(), special), hn::BitCast(DF(), infinite), finite);
    });
  }
};

struct F32Weights {
  static constexpr int kUnit = 1, kScaleBlock = 128;
  static constexpr float kFactor = 1;
  static HWY_INLINE bool rare(const uint32_t*) { return false; }
  template <int J, bool = true>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR { return hn::BitCast(DF(), hn::LoadU(DU(), p + i * kLanes)); });
  }
};

// Whether any of these words is rare.
template <class W, int kGroups>
HWY_INLINE bool any_rare(const uint32_t* const (&p)[kGroups]) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (std::is_same_v<W, Fp8Weights>) {  // the bytes that are not, in a chain of masks: one look at the last
                                                  // of them
    __mmask64 ordinary = ~__mmask64{0};
    for (int g = 0; g < kGroups; ++g) {
      ordinary = _mm512_mask_test_epi8_mask(ordinary, _mm512_loadu_si512(p[g]), _mm512_set1_epi8(0x78));
    }
    return _kortestc_mask64_u8(ordinary, ordinary) == 0;
  }
#endif
  bool rare = false;
  for (int g = 0; g < kGroups; ++g) rare |= W::rare(p[g]);
  return rare;
}

// All elements of a word.
template <class W, bool kCareful, int J = 0>
HWY_INLINE void decode_unit(const uint32_t* p, F16 (&v)[W::kUnit]) {
#if HWY_TARGET != HWY_SCALAR  // which has no lanes of half the width
  if constexpr (std::is_same_v<W, Fp8Weights> && !kCareful) {
    // Two codes at a time are moved into place, in lanes of sixteen bits.
    for (size_t i = 0; i < kParts; ++i) {
      const VU words = hn::LoadU(DU(), p + i * kLanes);
      const auto upper_bytes = hn::BitCast(hn::Repartition<int16_t, DU>(), words);
      const VU odd = hn::BitCast(DU(), hn::ShiftRight<4>(upper_bytes));
      const VU even = hn::BitCast(DU(), hn::ShiftRight<4>(hn::ShiftLeft<8>(upper_bytes)));
      v[0].part[i] = widen_normal<0x07f00000u>(hn::ShiftLeft<16>(even));
      v[1].part[i] = widen_normal<0x07f00000u>(hn::ShiftLeft<16>(odd));
      v[2].part[i] = widen_normal<0x07f00000u>(even);
      v[3].part[i] = widen_normal<0x07f00000u>(odd);
    }
  } else
#endif
      if constexpr (J < W::kUnit) {
    v[J] = W::template decode<J, kCareful>(p);
    decode_unit<W, kCareful, J + 1>(p, v);
  }
}

// em_e8m0 of sixteen scale bytes.
HWY_INLINE F16 scales16(const uint8_t* p) {
  return each([&](size_t i) HWY_ATTR {
    const VU b = hn::PromoteTo(DU(), hn::LoadU(DB(), p + i * kLanes));
    return hn::BitCast(DF(), hn::Max(hn::ShiftLeft<23>(b), hn::Set(DU(), 0x00400000u)));  // 2^-127 is subnormal
  });
}

// The scale of scale block `block` for the rows of a group, times W::kFactor.
template <class W>
HWY_INLINE F16 block_scale(const Matrix& w, int64_t group, int64_t block) {
  if constexpr (W::kScaleBlock == 32) {
    return scales16(w.scales + (group * w.blocks + block) * 16) * splat(W::kFactor);
  } else {
    const float scale = w.scales == nullptr ? 1.0f : em_e8m0(w.scales[group / 8 * w.blocks + block]);
    return splat(scale * W::kFactor);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
