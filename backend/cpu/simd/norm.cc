#include "backend/cpu/simd/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/norm.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

template <class T>
float sum_of_squares(const T* x, int64_t n) {
  Lanes64 lanes;
  lanes.add(n, [&](int64_t i, int64_t live, const F16& lane) HWY_ATTR {
    const F16 v = load_some(x + i, live);
    return fma(v, v, lane);
  });
  return lanes.fold();
}

template <class T, class W>
void rms_norm_row(const void* x_row, const void* weight, int64_t n, float eps, void* y_row) {
  const T* x = static_cast<const T*>(x_row);
  const W* w = static_cast<const W*>(weight);
  T* y = static_cast<T*>(y_row);
  const float r = em_rsqrt(em_div(sum_of_squares(x, n), static_cast<float>(n)) + eps);
  for (int64_t i = 0; i < n; ++i) store((load(x + i) * r) * load(w + i), y + i);
}

void head_rms_f32(const void* q_row, int64_t n, float eps, void* y_row) {
  const float* q = static_cast<const float*>(q_row);
  float* y = static_cast<float*>(y_row);
  const float r = em_rsqrt(em_div(sum_of_squares(q, n), static_cast<float>(n)) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = q[i] * r;
}

void head_rms_bf16(const void* q_row, int64_t n, float eps, void* y_row) {
  const Bf16* q = static_cast<const Bf16*>(q_row);
  Bf16* y = static_cast<Bf16*>(y_row);
  Lanes64 lanes;
  lanes.add(n, [&](int64_t i, int64_t live, const F16& lane) HWY_ATTR {
    const F16 v = load_some(q + i, live);
    return lane + round_bf16(v * v);
  });
  const float mean = em_bf16(em_div(lanes.fold(), static_cast<float>(n)));
  const float r = em_bf16(em_rsqrt(em_bf16(mean + eps)));
  for (int64_t i = 0; i < n; ++i) store(load(q + i) * r, y + i);
}

RmsNormFn rms_norm_for(bool bf16, bool bf16_weight) {
  if (bf16) return bf16_weight ? rms_norm_row<Bf16, Bf16> : rms_norm_row<Bf16, float>;
  return bf16_weight ? rms_norm_row<float, Bf16> : rms_norm_row<float, float>;
}

HeadRmsFn head_rms_for(bool bf16) { return bf16 ? head_rms_bf16 : head_rms_f32; }

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(rms_norm_for);
HWY_EXPORT(head_rms_for);

RmsNormFn rms_norm(DType activation, DType weight) {
  return HWY_DYNAMIC_DISPATCH(rms_norm_for)(activation == DType::kBF16, weight == DType::kBF16);
}

HeadRmsFn head_rms(DType activation) { return HWY_DYNAMIC_DISPATCH(head_rms_for)(activation == DType::kBF16); }

}  // namespace v4rt::simd
#endif
