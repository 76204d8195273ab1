// How sixteen rows of each weight type (Layout::kRows16) become floats. Included once per target.
#if defined(V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_WEIGHTS_INL_H_
#endif

#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// Widens small floats: `u` holds the sign in bit 31 and the other bits of the code where a float has its low exponent and
// high mantissa bits, selected by kCode. The exponent gets the bias 128, so the result is the value times a power of two
// (W::kFactor undoes it), except that subnormal codes must not gain an implicit one: (1 + m) 2 becomes 4 m = 2 * that - 4.
template <uint32_t kCode, uint32_t kExponent>
HWY_INLINE VF widen_code(VU u) {
  const VU code = hn::And(u, hn::Set(DU(), kCode | 0x80000000u));
  const VF normal = hn::BitCast(DF(), hn::Or(code, hn::Set(DU(), 128u << 23)));
  const VU four = hn::Or(hn::And(u, hn::Set(DU(), 0x80000000u)), hn::Set(DU(), 0x40800000u));
  const VF subnormal = hn::MulSub(normal, hn::Set(DF(), 2.0f), hn::BitCast(DF(), four));
  const auto is_subnormal = hn::Eq(hn::And(u, hn::Set(DU(), kExponent)), hn::Zero(DU()));
  return hn::IfThenElse(hn::RebindMask(DF(), is_subnormal), subnormal, normal);
}

// Arithmetic shift: the sign spreads down over bits that the caller masks away.
template <int kLeft, int kRight>
HWY_INLINE VU place(VU w) {
  VU top = w;
  if constexpr (kLeft != 0) top = hn::ShiftLeft<kLeft>(w);
  return hn::BitCast(DU(), hn::ShiftRight<kRight>(hn::BitCast(DI(), top)));
}

// A unit is the least run of whole words that holds an even number of k. decode<J>(p): element J of the unit at p, sixteen
// rows, as value / kFactor. kBlock elements share a scale and a partial sum.

struct Fp8Weights {
  static constexpr int kUnit = 4, kUnitWords = 1, kBlock = 128;
  static constexpr float kFactor = 0x1p-8f;
  template <int J>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR {
      return widen_code<0x07f00000u, 0x07800000u>(place<24 - 8 * J, 4>(hn::LoadU(DU(), p + i * kLanes)));
    });
  }
};

struct Fp4Weights {
  static constexpr int kUnit = 8, kUnitWords = 1, kBlock = 32;
  static constexpr float kFactor = 0x1p-2f;
  template <int J>
  static HWY_INLINE F16 decode(const uint32_t* p) {
#if HWY_TARGET == HWY_AVX3
    const __m512 table = _mm512_setr_ps(0, 2, 4, 6, 8, 12, 16, 24, -0.0f, -2, -4, -6, -8, -12, -16, -24);
    const __m512i words = _mm512_loadu_si512(p);
    return {{VF{_mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * J), table)}}};  // looks at the low four bits alone
#else
    return each([&](size_t i) HWY_ATTR {
      return widen_code<0x01c00000u, 0x01800000u>(place<28 - 4 * J, 6>(hn::LoadU(DU(), p + i * kLanes)));
    });
#endif
  }
};

struct Bf16Weights {
  static constexpr int kUnit = 2, kUnitWords = 1, kBlock = 128;
  static constexpr float kFactor = 1;
  template <int J>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR {
      const VU w = hn::LoadU(DU(), p + i * kLanes);
      return hn::BitCast(DF(), J == 0 ? hn::ShiftLeft<16>(w) : hn::And(w, hn::Set(DU(), 0xffff0000u)));
    });
  }
};

struct F16Weights {
  static constexpr int kUnit = 2, kUnitWords = 1, kBlock = 128;
  static constexpr float kFactor = 0x1p-16f;
  template <int J>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR {
      const VU u = place<16 - 16 * J, 3>(hn::LoadU(DU(), p + i * kLanes));
      const VF finite = widen_code<0x0fffe000u, 0x0f800000u>(u);
      const VU exponent = hn::Set(DU(), 0x0f800000u), infinite = hn::Or(u, hn::Set(DU(), 0x7f800000u));
      const auto special = hn::Eq(hn::And(u, exponent), exponent);
      return hn::IfThenElse(hn::RebindMask(DF(), special), hn::BitCast(DF(), infinite), finite);
    });
  }
};

struct F32Weights {
  static constexpr int kUnit = 2, kUnitWords = 2, kBlock = 128;
  static constexpr float kFactor = 1;
  template <int J>
  static HWY_INLINE F16 decode(const uint32_t* p) {
    return each([&](size_t i) HWY_ATTR { return hn::BitCast(DF(), hn::LoadU(DU(), p + 16 * J + i * kLanes)); });
  }
};

// em_e8m0 of sixteen scale bytes.
HWY_INLINE F16 scales16(const uint8_t* p) {
  return each([&](size_t i) HWY_ATTR {
    const VU b = hn::PromoteTo(DU(), hn::LoadU(DB(), p + i * kLanes));
    const VU least = hn::Set(DU(), 0x00400000u);
    return hn::BitCast(DF(), hn::IfThenElse(hn::Eq(b, hn::Zero(DU())), least, hn::ShiftLeft<23>(b)));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
