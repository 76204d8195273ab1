// The functions of exact_math.h for sixteen numbers: the same operations in the same order. Included once per target.
// The compiler vectorises loops over em_* functions too, but with em_exp they take twice as long.
#if defined(V4RT_BACKEND_CPU_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_MATH_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_MATH_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_MATH_INL_H_
#endif

#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// p * 2^n for an integral n of -127 to 128. As two exact factors, because one could be out of range.
HWY_INLINE VF scale_by_power(VF p, VF n) {
#if HWY_TARGET == HWY_AVX3  // one rounding either way: only the last product can be inexact
  return VF{_mm512_scalef_ps(p.raw, n.raw)};
#else
  const auto whole = hn::ConvertTo(DI(), n), half = hn::ShiftRight<1>(whole), bias = hn::Set(DI(), 127);
  const VF first = hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(half, bias)));
  const VF second = hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(hn::Sub(whole, half), bias)));
  return hn::Mul(hn::Mul(p, first), second);
#endif
}

// em_max, em_min.
HWY_INLINE VF max_lanes(VF a, VF b) {
#if HWY_ARCH_X86  // whose instruction is just that
  return hn::Max(a, b);
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}
HWY_INLINE VF min_lanes(VF a, VF b) {
#if HWY_ARCH_X86
  return hn::Min(a, b);
#else
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#endif
}

HWY_INLINE VF flush_lanes(VF x) { return hn::IfThenZeroElse(hn::Lt(hn::Abs(x), hn::Set(DF(), 0x1p-60f)), x); }

// em_weight, and em_exp where it is added to 1: below 2^-60 it is 0.
HWY_INLINE VF weight_lanes(VF x) {
  const auto c = [](float v) HWY_ATTR { return hn::Set(DF(), v); };
  const VF clamped = min_lanes(max_lanes(x, c(-88.0f)), c(89.0f));
  const VF n = hn::Round(hn::Mul(clamped, c(1.44269504f)));
  VF r = fma_lanes(n, c(-0.693145752f), x);
  r = fma_lanes(n, c(-1.42860677e-6f), r);
  VF p = c(1.98412698e-4f);
  for (float next : {1.38888889e-3f, 8.33333333e-3f, 4.16666667e-2f, 1.66666667e-1f, 0.5f, 1.0f, 1.0f})
    p = fma_lanes(p, r, c(next));
  const VF y = scale_by_power(p, n);
  const VF bounded = hn::IfThenElse(hn::Gt(x, c(88.72283f)), c(em_float(0x7f800000u)), y);
  return hn::IfThenElse(hn::Lt(x, c(-41.5888309f)), hn::Zero(DF()), bounded);
}

HWY_INLINE F16 weight(const F16& x) {
  return each([&](size_t i) HWY_ATTR { return weight_lanes(x.part[i]); });
}
HWY_INLINE F16 flush(const F16& x) {
  return each([&](size_t i) HWY_ATTR { return flush_lanes(x.part[i]); });
}
HWY_INLINE F16 silu(const F16& x) {
  return each([&](size_t i) HWY_ATTR {
    const VF v = x.part[i];
    return flush_lanes(hn::Div(v, hn::Add(hn::Set(DF(), 1.0f), weight_lanes(hn::Neg(v)))));
  });
}
HWY_INLINE F16 operator-(const F16& a, const F16& b) {
  return each([&](size_t i) HWY_ATTR { return hn::Sub(a.part[i], b.part[i]); });
}
HWY_INLINE F16 operator/(const F16& a, const F16& b) {
  return each([&](size_t i) HWY_ATTR { return hn::Div(a.part[i], b.part[i]); });
}
HWY_INLINE F16 max(const F16& a, const F16& b) {
  return each([&](size_t i) HWY_ATTR { return max_lanes(a.part[i], b.part[i]); });
}
HWY_INLINE F16 min(const F16& a, const F16& b) {
  return each([&](size_t i) HWY_ATTR { return min_lanes(a.part[i], b.part[i]); });
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
