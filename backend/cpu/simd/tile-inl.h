// Register-blocked products in the order of exact_math.h's dot, and transposition. Included once per target.
#if defined(V4RT_BACKEND_CPU_SIMD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef V4RT_BACKEND_CPU_SIMD_TILE_INL_H_
#undef V4RT_BACKEND_CPU_SIMD_TILE_INL_H_
#else
#define V4RT_BACKEND_CPU_SIMD_TILE_INL_H_
#endif

#include "backend/cpu/simd/vec16-inl.h"
#include "ops/core/exact_sum.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// How many vectors of sixteen, and how many rows of x with that many, fill the registers with sums.
constexpr int kTileGroups = kParts == 1 ? 2 : 1;
template <int kGroups>
constexpr int kMostTileRows = kParts == 1 ? 16 / kGroups : 4;

// c[t][j] = fma chain from 0 over n elements k of x[t][from + k] * panel[k * 16 kGroups + j], ascending.
template <int kGroups, int kRows>
HWY_INLINE void tile_chain(const float* panel, int64_t n, const float* const* x, int64_t from,
                           F16 (&c)[kRows][kGroups]) {
  for (int t = 0; t < kRows; ++t)
    for (int g = 0; g < kGroups; ++g) c[t][g] = zero();
#pragma GCC unroll 16
  for (int64_t k = 0; k < n; ++k) {
    F16 w[kGroups];
    for (int g = 0; g < kGroups; ++g) w[g] = load16(panel + (k * kGroups + g) * 16);
    for (int t = 0; t < kRows; ++t) {
      const F16 v = splat(x[t][from + k]);
      for (int g = 0; g < kGroups; ++g) c[t][g] = fma(v, w[g], c[t][g]);
    }
  }
}

// y[t][j] += e + o, the two chains of a block: `n_even` elements and, after them, `n_odd`.
template <int kGroups, int kRows>
HWY_INLINE void tile_block(const float* panel, int64_t n_even, int64_t n_odd, const float* const* x, int64_t at,
                           float* const* y) {
  F16 e[kRows][kGroups], o[kRows][kGroups];
  tile_chain(panel, n_even, x, at, e);
  tile_chain(panel + kDotChain * 16 * kGroups, n_odd, x, at + kDotChain, o);
  for (int t = 0; t < kRows; ++t)
    for (int g = 0; g < kGroups; ++g) store16(load16(y[t] + 16 * g) + (e[t][g] + o[t][g]), y[t] + 16 * g);
}

// y[t][j] = y[t][j] + block after block of n elements of x[t] times panel[k * 16 kGroups + j], as dot adds them.
template <int kGroups, int kRows>
void tile_blocks(const float* panel, int64_t n, const float* const* x, float* const* y) {
  int64_t at = 0;
  for (; at + kDotBlock <= n; at += kDotBlock)
    tile_block<kGroups, kRows>(panel + at * 16 * kGroups, kDotChain, kDotChain, x, at, y);
  if (at < n) {
    const int64_t left = n - at, n_even = left < kDotChain ? left : kDotChain;
    tile_block<kGroups, kRows>(panel + at * 16 * kGroups, n_even, left - n_even, x, at, y);
  }
}

// Cuts any number of rows into tiles: call.operator()<kRows>(xs, ys) with the rows row(i) of x and their sums, y + i *
// y_stride.
template <int kGroups, class X, class RowFn, class Call>
HWY_INLINE void for_row_tiles(int64_t rows, const RowFn& row, float* y, int64_t y_stride, const Call& call) {
  constexpr int kMost = kMostTileRows<kGroups>;
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
template <int kGroups, class RowFn>
HWY_INLINE void tile_rows(const float* panel, int64_t n, int64_t rows, const RowFn& row, float* y, int64_t y_stride) {
  for_row_tiles<kGroups, float>(rows, row, y, y_stride,
                                [&]<int kRows>(const float* const* xs, float* const* ys)
                                    HWY_ATTR { tile_blocks<kGroups, kRows>(panel, n, xs, ys); });
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
