#include "backend/cpu/simd/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/elementwise.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "backend/cpu/simd/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

template <class T>
void widen(const void* x, int64_t n, float* y) {
  const T* from = static_cast<const T*>(x);
  for (int64_t i = 0; i < n; ++i) y[i] = load(from + i);
}

template <class T>
void narrow(const float* x, int64_t n, void* y) {
  T* to = static_cast<T*>(y);
  for (int64_t i = 0; i < n; ++i) store(x[i], to + i);
}

template <class T>
void add(const void* x, const void* s, int64_t n, void* y) {
  const T *a = static_cast<const T*>(x), *b = static_cast<const T*>(s);
  T* to = static_cast<T*>(y);
  for (int64_t i = 0; i < n; ++i) store(load(a + i) + load(b + i), to + i);
}

template <class T>
void add_wide(const float* x, const void* s, int64_t n, void* y) {
  const T* b = static_cast<const T*>(s);
  T* to = static_cast<T*>(y);
  for (int64_t i = 0; i < n; ++i) store(x[i] + load(b + i), to + i);
}

template <class T>
void add_rounded(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += rounded<T>(x[i]);
}

// em_swiglu. Without a limit, `limit` is infinite, so that min and max change nothing.
HWY_INLINE F16 gated(const F16& g, const F16& u, float limit) {
  return flush(silu(min(splat(limit), g)) * min(splat(limit), max(splat(-limit), u)));
}

HWY_INLINE float limit_or_infinity(float limit) { return limit > 0 ? limit : em_float(0x7f800000u); }

template <class T>
void swiglu(const void* g, const void* u, int64_t n, float limit, void* y) {
  const T *gate = static_cast<const T*>(g), *up = static_cast<const T*>(u);
  T* to = static_cast<T*>(y);
  const float bound = limit_or_infinity(limit);
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t live = n - i < 16 ? n - i : 16;
    store_some(gated(load_some(gate + i, live), load_some(up + i, live), bound), live, to + i);
  }
}

template <class T>
void swiglu_wide(const float* g, const float* u, int64_t n, float limit, float weight, void* y) {
  T* to = static_cast<T*>(y);
  const float bound = limit_or_infinity(limit);
  const auto round = [](const F16& v) HWY_ATTR { return sizeof(T) == sizeof(Bf16) ? round_bf16(v) : v; };
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t live = n - i < 16 ? n - i : 16;
    store_some(gated(round(load_some(g + i, live)), round(load_some(u + i, live)), bound) * splat(weight), live,
               to + i);
  }
}

template <class T>
const ElementwiseFns* elementwise_of() {
  static constexpr ElementwiseFns kFns{widen<T>,       narrow<T>, add<T>,        add_wide<T>,
                                       add_rounded<T>, swiglu<T>, swiglu_wide<T>};
  return &kFns;
}

const ElementwiseFns* elementwise_table(bool bf16) { return bf16 ? elementwise_of<Bf16>() : elementwise_of<float>(); }

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(elementwise_table);

const ElementwiseFns& elementwise(DType activation) {
  return *HWY_DYNAMIC_DISPATCH(elementwise_table)(activation == DType::kBF16);
}

}  // namespace v4rt::simd
#endif
