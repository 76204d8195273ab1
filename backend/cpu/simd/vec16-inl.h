// Sixteen floats as one value on every instruction set: one, two, four or sixteen registers. Included once per target.
#if defined(V4RT_BACKEND_CPU_SIMD_VEC16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_VEC16_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_VEC16_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_VEC16_INL_H_
#endif

#include <hwy/highway.h>

#include "backend/cpu/simd/element.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using DU = hn::RebindToUnsigned<DF>;
using DI = hn::RebindToSigned<DF>;
using DH = hn::Rebind<uint16_t, DF>;
using DB = hn::Rebind<uint8_t, DF>;
using VF = hn::Vec<DF>;
using VU = hn::Vec<DU>;
inline constexpr size_t kLanes = hn::MaxLanes(DF());
inline constexpr size_t kParts = 16 / kLanes;

// Constructors are explicit, because implicit ones are not compiled for the target.
struct F16 {
  VF part[kParts];
  HWY_INLINE F16() {}
  HWY_INLINE explicit F16(VF first) : part{first} {}
};
struct U16 {
  VU part[kParts];
  HWY_INLINE U16() {}
};

// Rounds once, even if the processor has no such instruction.
HWY_INLINE VF fma_lanes(VF a, VF b, VF c) {
#if HWY_NATIVE_FMA
  return hn::MulAdd(a, b, c);
#else
  HWY_ALIGN float x[kLanes], y[kLanes], z[kLanes];
  hn::Store(a, DF(), x);
  hn::Store(b, DF(), y);
  hn::Store(c, DF(), z);
  for (size_t i = 0; i < kLanes; ++i) z[i] = em_fma(x[i], y[i], z[i]);
  return hn::Load(DF(), z);
#endif
}

template <class Fn>
HWY_INLINE F16 each(const Fn& fn) {
  F16 r;
  for (size_t i = 0; i < kParts; ++i) r.part[i] = fn(i);
  return r;
}

HWY_INLINE F16 splat(float x) {
  const VF v = hn::Set(DF(), x);
  return each([&](size_t) HWY_ATTR { return v; });
}
HWY_INLINE F16 zero() { return splat(0.0f); }
HWY_INLINE F16 load16(const float* p) {
  return each([&](size_t i) HWY_ATTR { return hn::LoadU(DF(), p + i * kLanes); });
}
HWY_INLINE F16 load16(const Bf16* p) {
  const auto* bits = reinterpret_cast<const uint16_t*>(p);
  return each([&](size_t i) HWY_ATTR {
    return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), hn::LoadU(DH(), bits + i * kLanes))));
  });
}
HWY_INLINE void store16(const F16& v, float* p) {
  for (size_t i = 0; i < kParts; ++i) hn::StoreU(v.part[i], DF(), p + i * kLanes);
}
HWY_INLINE F16 fma(const F16& a, const F16& b, const F16& c) {
  return each([&](size_t i) HWY_ATTR { return fma_lanes(a.part[i], b.part[i], c.part[i]); });
}
HWY_INLINE F16 operator+(const F16& a, const F16& b) {
  return each([&](size_t i) HWY_ATTR { return hn::Add(a.part[i], b.part[i]); });
}
HWY_INLINE F16 operator*(const F16& a, const F16& b) {
  return each([&](size_t i) HWY_ATTR { return hn::Mul(a.part[i], b.part[i]); });
}
HWY_INLINE U16 load_words(const uint32_t* p) {
  U16 r;
  for (size_t i = 0; i < kParts; ++i) r.part[i] = hn::LoadU(DU(), p + i * kLanes);
  return r;
}

// em_bf16.
HWY_INLINE F16 round_bf16(const F16& x) {
  return each([&](size_t i) HWY_ATTR {
    const VU u = hn::BitCast(DU(), x.part[i]), upper = hn::Set(DU(), 0xffff0000u);
    const VU odd = hn::And(hn::ShiftRight<16>(u), hn::Set(DU(), 1u));
    const VU near = hn::And(hn::Add(u, hn::Add(odd, hn::Set(DU(), 0x7fffu))), upper);
    const VU quiet = hn::And(hn::Or(u, hn::Set(DU(), 0x00400000u)), upper);
    return hn::IfThenElse(hn::IsNaN(x.part[i]), hn::BitCast(DF(), quiet), hn::BitCast(DF(), near));
  });
}
HWY_INLINE void store16(const F16& v, Bf16* p) {
  const F16 rounded = round_bf16(v);
  auto* bits = reinterpret_cast<uint16_t*>(p);
  for (size_t i = 0; i < kParts; ++i) {
    const auto upper = hn::BitCast(DI(), hn::ShiftRight<16>(hn::BitCast(DU(), rounded.part[i])));
    hn::StoreU(hn::DemoteTo(DH(), upper), DH(), bits + i * kLanes);
  }
}

// The last n < 16 elements; the missing ones are zero.
template <class T>
HWY_INLINE F16 load_tail(const T* p, int64_t n) {
  T padded[16] = {};
  for (int64_t i = 0; i < n; ++i) padded[i] = p[i];
  return load16(padded);
}

// The first `live` <= 16 elements; as above, or the first of sixteen.
template <class T>
HWY_INLINE F16 load_some(const T* p, int64_t live) {
  return live == 16 ? load16(p) : load_tail(p, live);
}
template <class T>
HWY_INLINE void store_some(const F16& v, int64_t live, T* p) {
  if (live == 16) return store16(v, p);
  T all[16];
  store16(v, all);
  for (int64_t i = 0; i < live; ++i) p[i] = all[i];
}

// The 64 lanes of exact_math.h's sum64: lane l of part i is element 16 i + l.
struct Lanes64 {
  F16 lane[4];

  HWY_INLINE Lanes64() : lane{zero(), zero(), zero(), zero()} {}
  HWY_INLINE Lanes64(const F16& a, const F16& b, const F16& c, const F16& d) : lane{a, b, c, d} {}

  // For every sixteen of n elements, of which `live` exist: lane = fn(offset, live, lane).
  template <class Fn>
  HWY_INLINE void add(int64_t n, const Fn& fn) {
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
      for (int64_t l = 0; l < 4; ++l) lane[l] = fn(i + 16 * l, 16, lane[l]);
    for (int64_t l = 0; i < n; i += 16, ++l) lane[l] = fn(i, n - i < 16 ? n - i : 16, lane[l]);
  }

  HWY_INLINE float fold() const {
    HWY_ALIGN float sum[16];
    store16((lane[0] + lane[2]) + (lane[1] + lane[3]), sum);
    for (size_t half = 8; half > 0; half /= 2)
      for (size_t l = 0; l < half; ++l) sum[l] += sum[l + half];
    return sum[0];
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
