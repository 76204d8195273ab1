#include "backend/cpu/simd/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/rope.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include <algorithm>

#include "backend/cpu/simd/element.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

void angles(const float* frequencies, int64_t pairs, int32_t position, float sign, float* cosine, float* sine) {
  for (int64_t i = 0; i < pairs; ++i) cosine[i] = em_cos(static_cast<float>(position) * frequencies[i]);
  for (int64_t i = 0; i < pairs; ++i) sine[i] = em_sin(static_cast<float>(position) * frequencies[i]) * sign;
}

template <class T>
void rotate_row(const void* x_row, int64_t n, int64_t pairs, const float* cosine, const float* sine, void* y_row) {
  const T* x = static_cast<const T*>(x_row);
  T* y = static_cast<T*>(y_row);
  const int64_t head = n - 2 * pairs;
  std::copy(x, x + head, y);
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = load(x + head + 2 * i), b = load(x + head + 2 * i + 1);
    store(em_fma(a, cosine[i], -(b * sine[i])), y + head + 2 * i);
    store(em_fma(a, sine[i], b * cosine[i]), y + head + 2 * i + 1);
  }
}

RotateFn rotate_for(bool bf16) { return bf16 ? rotate_row<Bf16> : rotate_row<float>; }

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(angles);
HWY_EXPORT(rotate_for);

void rope_angles(const float* frequencies, int64_t pairs, int32_t position, float sign, float* cosine, float* sine) {
  HWY_DYNAMIC_DISPATCH(angles)(frequencies, pairs, position, sign, cosine, sine);
}
RotateFn rotate_tail(DType activation) { return HWY_DYNAMIC_DISPATCH(rotate_for)(activation == DType::kBF16); }

}  // namespace v4rt::simd
#endif
