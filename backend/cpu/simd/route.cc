#include "backend/cpu/simd/route.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/route.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include "ops/core/exact_math.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

void scores(const float* z, int64_t n, float* s) {
  for (int64_t i = 0; i < n; ++i) s[i] = em_sqrt(em_softplus(z[i]));
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(scores);

void router_scores(const float* z, int64_t n, float* s) { HWY_DYNAMIC_DISPATCH(scores)(z, n, s); }

}  // namespace v4rt::simd
#endif
