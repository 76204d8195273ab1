#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/core/tensor.h"

namespace v4rt::simd {

// One matrix [n, k] in Layout::kRows16: groups of sixteen rows, a group is `words` times sixteen 32-bit words.
struct Matrix {
  const uint32_t* values = nullptr;
  const uint8_t* scales = nullptr;
  int64_t k = 0, words = 0, blocks = 0;  // words and scale blocks per row
};

// Matrix `index` of a weight [n, k] or [E, n, k].
Matrix matrix_of(const Tensor& weight, int64_t index = 0);

// Rows of x as the products read them: cut into blocks of 128 k, block b of row r at (b * rows + r) * 128, zero past k.
// Where products of bf16 pairs are used, the same blocks follow as pairs, then a mark for blocks that must not be used so.
struct Packed {
  const float* data = nullptr;
  int64_t rows = 0;
  const uint32_t* pairs = nullptr;    // block b of row r at (b * rows + r) * 64
  const uint32_t* fragile = nullptr;  // at b * rows + r
};
inline constexpr int64_t kPackBlock = 128;

// dot(x, w) of exact_math.h for sixteen rows of w at a time. Every way of calling gives the same bits.
struct DotFns {
  // Row r of x is at x + r * stride elements; packs rows [begin, end) into `memory`, which has place for `rows`.
  void (*pack)(const void* x, int64_t stride, int64_t k, int64_t rows, int64_t begin, int64_t end, float* memory);
  // y[16 i + j] = dot(x[row], w[16 (group + i) + j]) for i < n_groups.
  void (*vector)(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, int64_t row, float* y);
  // y[i * 16 n_groups + j] = dot(x[row i], w[16 group + j]) for i < n, n_groups <= kMatrixGroups; row i is index[i], or
  // first + i when there is no index.
  void (*matrix)(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index, int64_t first, int64_t n,
                 float* y);
  bool pairs = false;  // rows are packed as pairs too, unless there is one alone

  int64_t packed_floats(int64_t rows, int64_t k) const;
  Packed packed(const float* memory, int64_t rows, int64_t k) const;  // what `pack` made of all rows
};
inline constexpr int64_t kMatrixGroups = 4;

// `pairs`: use products of bf16 pairs where the types allow it (pairs.h); only speed depends on it.
const DotFns& dot_fns(DType weight, DType activation, bool pairs);
const DotFns& dot_fns(DType weight, DType activation);  // what is fastest here

}  // namespace v4rt::simd
