#include "backend/cpu/simd/pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/pool.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>

#include "backend/cpu/simd/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

void pool(const PoolRow* rows, int64_t n, int64_t begin, int64_t end, float* entry) {
  for (int64_t c = begin; c < end; c += 16) {
    const int64_t live = std::min<int64_t>(16, end - c);
    const auto score = [&](int64_t i)
                           HWY_ATTR { return load_some(rows[i].scores + c, live) + load_some(rows[i].ape + c, live); };
    F16 largest = splat(-em_float(EM_INFINITY_BITS)), sum = zero(), acc = zero();
    for (int64_t i = 0; i < n; ++i) largest = max(score(i), largest);
    for (int64_t i = 0; i < n; ++i) {
      const F16 e = weight(score(i) - largest);
      sum = sum + e;
      acc = fma(e, load_some(rows[i].values + c, live), acc);
    }
    store_some(acc / sum, live, entry + c);
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
