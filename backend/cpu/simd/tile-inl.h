// Register-blocked products in the order of exact_math.h's dot, and transposition. Included once per target.
#if defined(V4RT_BACKEND_CPU_SIMD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_TILE_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_TILE_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_TILE_INL_H_
#endif

#include "backend/cpu/simd/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// Vectors of sixteen side by side, and rows of x for so many of them, whose sums fill the registers.
constexpr int kTileGroups = kParts == 1 ? 2 : 1;
template <int kGroups>
constexpr int kTileRows = kParts == 1 ? 16 / kGroups : 4;

// y[t][j] += sum over n elements of k of x[t][k] * panel[k * 16 kGroups + j], odd before even within each pair of k.
template <int kGroups, int kRows>
HWY_INLINE void tile(const float* panel, int64_t n, const float* const* x, float* const* y) {
  constexpr int64_t kStride = 16 * kGroups;
  F16 c[kRows][kGroups];
  for (int t = 0; t < kRows; ++t)
    for (int g = 0; g < kGroups; ++g) c[t][g] = zero();
  const auto add = [&](int64_t k) HWY_ATTR {
    F16 w[kGroups];
    for (int g = 0; g < kGroups; ++g) w[g] = load16(panel + k * kStride + 16 * g);
    for (int t = 0; t < kRows; ++t) {
      const F16 v = splat(x[t][k]);
      for (int g = 0; g < kGroups; ++g) c[t][g] = fma(v, w[g], c[t][g]);
    }
  };
  int64_t k = 0;
  for (; k + 2 <= n; k += 2) {
    add(k + 1);
    add(k);
  }
  if (k < n) add(k);
  for (int t = 0; t < kRows; ++t)
    for (int g = 0; g < kGroups; ++g) store16(load16(y[t] + 16 * g) + c[t][g], y[t] + 16 * g);
}

// The same in partial sums of kBlock elements.
template <int kGroups, int kBlock, int kRows>
void tile_blocks(const float* panel, int64_t n, const float* const* x, float* const* y) {
  for (int64_t at = 0; at < n; at += kBlock) {
    const float* rows[kRows];
    for (int t = 0; t < kRows; ++t) rows[t] = x[t] + at;
    tile<kGroups, kRows>(panel + at * 16 * kGroups, n - at < kBlock ? n - at : kBlock, rows, y);
  }
}

// Cuts any number of rows into tiles: call.operator()<kRows>(xs, ys) with the rows row(i) of x and their sums, y + i *
// y_stride.
template <int kGroups, class X, class RowFn, class Call>
HWY_INLINE void for_row_tiles(int64_t rows, const RowFn& row, float* y, int64_t y_stride, const Call& call) {
  constexpr int kMost = kTileRows<kGroups>;
  for (int64_t i = 0; i < rows;) {
    const X* xs[kMost];
    float* ys[kMost];
    const int64_t left = rows - i;
    for (int64_t t = 0; t < (left < kMost ? left : kMost); ++t) {
      xs[t] = row(i + t);
      ys[t] = y + (i + t) * y_stride;
    }
    if (left >= kMost) {
      call.template operator()<kMost>(xs, ys);
      i += kMost;
    } else if (kMost > 4 && left >= 4) {
      call.template operator()<4>(xs, ys);
      i += 4;
    } else if (left >= 2) {
      call.template operator()<2>(xs, ys);
      i += 2;
    } else {
      call.template operator()<1>(xs, ys);
      i += 1;
    }
  }
}

// tile_blocks for any number of rows.
template <int kGroups, int kBlock, class RowFn>
HWY_INLINE void tile_rows(const float* panel, int64_t n, int64_t rows, const RowFn& row, float* y, int64_t y_stride) {
  for_row_tiles<kGroups, float>(rows, row, y, y_stride,
                                [&]<int kRows>(const float* const* xs, float* const* ys)
                                    HWY_ATTR { tile_blocks<kGroups, kBlock, kRows>(panel, n, xs, ys); });
}

#if HWY_TARGET != HWY_SCALAR
// to[c * to_stride + r] = from[r * from_stride + c] for r, c < 4.
template <class T>
HWY_INLINE void transpose4(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  const hn::FixedTag<T, 4> d;
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + from_stride);
  const auto r2 = hn::LoadU(d, from + 2 * from_stride), r3 = hn::LoadU(d, from + 3 * from_stride);
  const auto a = hn::InterleaveLower(d, r0, r1), b = hn::InterleaveLower(d, r2, r3);  // columns 0, 1
  const auto e = hn::InterleaveUpper(d, r0, r1), f = hn::InterleaveUpper(d, r2, r3);  // columns 2, 3
  hn::StoreU(hn::ConcatLowerLower(d, b, a), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, b, a), d, to + to_stride);
  hn::StoreU(hn::ConcatLowerLower(d, f, e), d, to + 2 * to_stride);
  hn::StoreU(hn::ConcatUpperUpper(d, f, e), d, to + 3 * to_stride);
}
#endif

// to[c * to_stride + r] = from[r * from_stride + c] for r < rows, c < columns.
template <class T>
HWY_INLINE void transpose(const T* from, int64_t rows, int64_t columns, int64_t from_stride, T* to, int64_t to_stride) {
  int64_t r = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; r + 4 <= rows; r += 4) {
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4)
      transpose4(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    for (; c < columns; ++c)
      for (int64_t i = r; i < r + 4; ++i) to[c * to_stride + i] = from[i * from_stride + c];
  }
#endif
  for (; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#endif
