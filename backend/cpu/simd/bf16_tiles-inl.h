// Rows of tiles of bf16 pairs: element i of a block of 32 stands beside element 16 + i. Included once per target.
#if defined(V4RT_BACKEND_CPU_SIMD_BF16_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_BF16_TILES_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_BF16_TILES_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_BF16_TILES_INL_H_
#endif

#include "backend/cpu/simd/safe_range.h"
#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// Nonzero when one of n bf16 numbers is not safe.
HWY_INLINE uint32_t any_unsafe(const uint16_t* p, int64_t n, uint16_t least) {
  uint16_t bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto magnitude = static_cast<uint16_t>(p[i] & 0x7fffu), above = static_cast<uint16_t>(magnitude - least);
    bad |= static_cast<uint16_t>((magnitude != 0) & (above >= kMostSafe - least));
  }
  return bad;
}

// Sixteen words of which each holds a number of `lower` and one of `upper`, both exact in bf16.
HWY_INLINE void store_beside(const F16& lower, const F16& upper, uint32_t* to) {
  for (size_t i = 0; i < kParts; ++i) {
    const VU low = hn::ShiftRight<16>(hn::BitCast(DU(), lower.part[i]));
    hn::StoreU(hn::Or(low, hn::BitCast(DU(), upper.part[i])), DU(), to + i * kLanes);
  }
}

// 32 numbers as a row of a tile.
HWY_INLINE void pack_block(const uint16_t* from, uint32_t* to) {
  for (size_t i = 0; i < 16; i += kLanes) {
    const VU e = hn::PromoteTo(DU(), hn::LoadU(DH(), from + i)),
             o = hn::PromoteTo(DU(), hn::LoadU(DH(), from + 16 + i));
    hn::StoreU(hn::Or(e, hn::ShiftLeft<16>(o)), DU(), to + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
