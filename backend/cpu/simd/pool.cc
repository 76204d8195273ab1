#include "backend/cpu/simd/pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/pool.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <hwy/highway.h>

#include <algorithm>

#include "ops/core/exact_math.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

constexpr int64_t kPiece = 128;

void pool(const PoolRow* rows, int64_t n, int64_t begin, int64_t end, float* entry) {
  for (int64_t first = begin; first < end; first += kPiece) {
    const int64_t channels = std::min(kPiece, end - first);
    float largest[kPiece], sum[kPiece], acc[kPiece];
    for (int64_t c = 0; c < channels; ++c) largest[c] = rows[0].scores[first + c] + rows[0].ape[first + c];
    for (int64_t i = 1; i < n; ++i) {
      const float *s = rows[i].scores + first, *ape = rows[i].ape + first;
      for (int64_t c = 0; c < channels; ++c) largest[c] = em_max(largest[c], s[c] + ape[c]);
    }
    std::fill_n(sum, channels, 0.0f);
    std::fill_n(acc, channels, 0.0f);
    for (int64_t i = 0; i < n; ++i) {
      const float *s = rows[i].scores + first, *ape = rows[i].ape + first, *v = rows[i].values + first;
      for (int64_t c = 0; c < channels; ++c) {
        const float e = em_exp((s[c] + ape[c]) - largest[c]);
        sum[c] += e;
        acc[c] = em_fma(e, v[c], acc[c]);
      }
    }
    for (int64_t c = 0; c < channels; ++c) entry[first + c] = em_div(acc[c], sum[c]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(pool);

void pool_channels(const PoolRow* rows, int64_t n, int64_t begin, int64_t end, float* entry) {
  HWY_DYNAMIC_DISPATCH(pool)(rows, n, begin, end, entry);
}

}  // namespace v4rt::simd
#endif
