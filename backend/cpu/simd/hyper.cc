#include "backend/cpu/simd/hyper.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/hyper.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// kRows rows of fn at once share the loads of v.
template <class T, int kRows>
void dot_rows(const T* v, const float* fn, int64_t width, float* out) {
  F16 lane[kRows][4];
  for (int r = 0; r < kRows; ++r)
    for (int l = 0; l < 4; ++l) lane[r][l] = zero();
  int64_t i = 0;
  for (; i + 64 <= width; i += 64) {
    for (int l = 0; l < 4; ++l) {
      const F16 x = load16(v + i + 16 * l);
      for (int r = 0; r < kRows; ++r) lane[r][l] = fma(x, load16(fn + r * width + i + 16 * l), lane[r][l]);
    }
  }
  for (int l = 0; i < width; i += 16, ++l) {
    const int64_t live = width - i < 16 ? width - i : 16;
    const F16 x = load_some(v + i, live);
    for (int r = 0; r < kRows; ++r) lane[r][l] = fma(x, load_some(fn + r * width + i, live), lane[r][l]);
  }
  for (int r = 0; r < kRows; ++r) out[r] = Lanes64{lane[r][0], lane[r][1], lane[r][2], lane[r][3]}.fold();
}

template <class T>
void dots(const void* v_row, const float* fn, int64_t width, int64_t n, float* out) {
  const T* v = static_cast<const T*>(v_row);
  constexpr int kRows = kParts == 1 ? 6 : 2;
  int64_t i = 0;
  for (; i + kRows <= n; i += kRows) dot_rows<T, kRows>(v, fn + i * width, width, out + i);
  for (; i < n; ++i) dot_rows<T, 1>(v, fn + i * width, width, out + i);
}

template <class T>
float squares(const void* v_row, int64_t width) {
  const T* v = static_cast<const T*>(v_row);
  Lanes64 lanes;
  lanes.add(width, [&](int64_t i, int64_t live, const F16& lane) HWY_ATTR {
    const F16 x = load_some(v + i, live);
    return fma(x, x, lane);
  });
  return lanes.fold();
}

constexpr int64_t kPiece = 256;  // channels whose sums stay in the first-level cache

template <class T>
void collapse(const void* v_row, const float* weight, int64_t m, int64_t d, int64_t begin, int64_t end, void* x_row) {
  const T* v = static_cast<const T*>(v_row);
  T* x = static_cast<T*>(x_row);
  for (int64_t first = begin; first < end; first += kPiece) {
    const int64_t n = end - first < kPiece ? end - first : kPiece;
    float sum[kPiece];
    for (int64_t c = 0; c < n; ++c) sum[c] = 0.0f + weight[0] * load(v + first + c);
    for (int64_t j = 1; j < m; ++j) {
      const T* stream = v + j * d + first;
      for (int64_t c = 0; c < n; ++c) sum[c] += weight[j] * load(stream + c);
    }
    for (int64_t c = 0; c < n; ++c) store(sum[c], x + first + c);
  }
}

template <class T>
void post(const void* f_row, const void* v_row, const float* mix, int64_t m, int64_t d, int64_t begin, int64_t end,
          void* out_row) {
  const T *f = static_cast<const T*>(f_row), *v = static_cast<const T*>(v_row);
  T* out = static_cast<T*>(out_row);
  for (int64_t first = begin; first < end; first += kPiece) {
    const int64_t n = end - first < kPiece ? end - first : kPiece;
    for (int64_t k = 0; k < m; ++k) {
      float sum[kPiece];
      const float gate = mix[m + k];
      for (int64_t c = 0; c < n; ++c) sum[c] = 0.0f;
      for (int64_t j = 0; j < m; ++j) {
        const float weight = mix[2 * m + j * m + k];
        const T* stream = v + j * d + first;
        for (int64_t c = 0; c < n; ++c) sum[c] += weight * load(stream + c);
      }
      for (int64_t c = 0; c < n; ++c) store(gate * load(f + first + c) + sum[c], out + k * d + first + c);
    }
  }
}

HWY_INLINE float root_scale(const HyperSpec& spec, float sum_of_squares, int64_t width) {
  return em_rsqrt(em_div(sum_of_squares, static_cast<float>(width)) + spec.rms_eps);
}

// Divides every column of c [m, m] by its sum (+ eps): c[j][k] for all j.
HWY_INLINE void normalise_columns(float* c, int m, float eps, bool add_eps) {
  float sum[kMaxStreams];
  for (int k = 0; k < m; ++k) sum[k] = c[k];
  for (int j = 1; j < m; ++j)
    for (int k = 0; k < m; ++k) sum[k] += c[j * m + k];
  if (add_eps)
    for (int k = 0; k < m; ++k) sum[k] += eps;
  for (int j = 0; j < m; ++j)
    for (int k = 0; k < m; ++k) c[j * m + k] = em_div(c[j * m + k], sum[k]);
}

HWY_INLINE void transpose(const float* from, int m, float* to) {
  for (int j = 0; j < m; ++j)
    for (int k = 0; k < m; ++k) to[k * m + j] = from[j * m + k];
}

// Rows are normalised as columns of the transpose, so that the operations run side by side in one register.
HWY_INLINE void sinkhorn(const HyperSpec& spec, int m, float* comb) {
  float rows[kMaxStreams * kMaxStreams], columns[kMaxStreams * kMaxStreams];
  for (int j = 0; j < m; ++j) {
    float largest = -em_float(EM_INFINITY_BITS);
    for (int k = 0; k < m; ++k) largest = em_max(comb[j * m + k], largest);
    for (int k = 0; k < m; ++k) comb[j * m + k] -= largest;
  }
  for (int i = 0; i < m * m; ++i) comb[i] = em_exp(comb[i]);
  transpose(comb, m, rows);
  normalise_columns(rows, m, 0.0f, false);
  transpose(rows, m, columns);
  for (int i = 0; i < m * m; ++i) columns[i] += spec.hc_eps;
  normalise_columns(columns, m, spec.hc_eps, true);
  for (int i = 1; i < spec.sinkhorn_iterations; ++i) {
    transpose(columns, m, rows);
    normalise_columns(rows, m, spec.hc_eps, true);
    transpose(rows, m, columns);
    normalise_columns(columns, m, spec.hc_eps, true);
  }
  for (int i = 0; i < m * m; ++i) comb[i] = columns[i];
}

void mix_row(const HyperSpec& spec, float sum_of_squares, int64_t width, const float* scale, const float* base,
             float* mix) {
  const int m = spec.streams, n = 2 * m + m * m;
  const float r = root_scale(spec, sum_of_squares, width);
  for (int i = 0; i < n; ++i) mix[i] = mix[i] * r * scale[i < m ? 0 : (i < 2 * m ? 1 : 2)] + base[i];
  for (int i = 0; i < 2 * m; ++i) mix[i] = em_sigmoid(mix[i]);
  for (int i = 0; i < m; ++i) mix[i] += spec.hc_eps;
  for (int i = m; i < 2 * m; ++i) mix[i] = 2.0f * mix[i];
  if (m == 4) {
    sinkhorn(spec, 4, mix + 2 * m);
  } else {
    sinkhorn(spec, m, mix + 2 * m);
  }
}

void head_row(const HyperSpec& spec, float sum_of_squares, int64_t width, const float* scale, const float* base,
              float* mix) {
  const float r = root_scale(spec, sum_of_squares, width);
  for (int j = 0; j < spec.streams; ++j) mix[j] = em_sigmoid(mix[j] * r * scale[0] + base[j]) + spec.hc_eps;
}

const HyperFns* hyper_for(bool bf16) {
  static constexpr HyperFns kBf16{dots<Bf16>, squares<Bf16>, collapse<Bf16>, post<Bf16>};
  static constexpr HyperFns kF32{dots<float>, squares<float>, collapse<float>, post<float>};
  return bf16 ? &kBf16 : &kF32;
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(hyper_for);
HWY_EXPORT(mix_row);
HWY_EXPORT(head_row);

const HyperFns& hyper(DType activation) { return *HWY_DYNAMIC_DISPATCH(hyper_for)(activation == DType::kBF16); }

void hyper_mix(const HyperSpec& spec, float sum_of_squares, int64_t width, const float* scale, const float* base,
               float* mix) {
  HWY_DYNAMIC_DISPATCH(mix_row)(spec, sum_of_squares, width, scale, base, mix);
}
void hyper_head(const HyperSpec& spec, float sum_of_squares, int64_t width, const float* scale, const float* base,
                float* mix) {
  HWY_DYNAMIC_DISPATCH(head_row)(spec, sum_of_squares, width, scale, base, mix);
}

}  // namespace v4rt::simd
#endif
