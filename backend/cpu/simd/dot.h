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

// Thirty-two numbers x as integers times a power of two: x[i] = (limb[0] + 256 limb[1] + 65536 limb[2])[i] * unit.
// Within eight numbers the even ones come first, matching the low and then the high half-bytes of a word of FP4
// weights.
struct Integers {
  int8_t limb[3][32];
  int32_t offset;  // -12 times the sum of the integers, because the weights are 12 too large, to be unsigned
  float scale;     // the value of one, for weights in halves, over the factor of weights-inl.h
  int32_t limbs;   // needed; 0: the numbers do not fit, or their sums might need rounding
};

// Rows of x in the form that products read: elements [begin, begin + k), cut into blocks of 128, block b of row r at (b
// * rows + r) * 128, zero past k. If the products can use them, the same blocks follow as bf16 pairs, with a mark on
// those that must not be used like that, and as integers. Matrix units and libraries use other forms.
struct Packed {
  const float* data = nullptr;
  int64_t rows = 0, begin = 0, k = 0;
  const uint32_t* pairs = nullptr;     // block b of row r at (b * rows + r) * 64
  const uint32_t* fragile = nullptr;   // at b * rows + r
  const Integers* integers = nullptr;  // of a lone row: k / 32
  const void* dense = nullptr;         // rows of k each (library_gemm.h)
  const uint32_t* tiles = nullptr;     // sixteen rows at a time (tile_dot.h)
};
inline constexpr int64_t kPackBlock = 128;

// dot(x, w) of exact_math.h for sixteen rows of w at a time. All functions give the same bits.
struct DotFns {
  // Row r comes from x + index[r] * stride elements, or from x + r * stride when there is no index; packs rows [begin,
  // end), whole row tiles, into `memory`, which has room for `rows`. An index of -1 gives zeros.
  void (*pack)(const void* x, int64_t stride, int64_t k, const int32_t* index, int64_t rows, int64_t begin, int64_t end,
               float* memory);
  // y[i * 16 n_groups + j] = dot(x[i], w[16 group + j]) for i < n <= few_rows rows that were packed one by one.
  void (*lone)(const Matrix& w, int64_t group, int64_t n_groups, const Packed* x, int64_t n, float* y);
  // y[i * 16 n_groups + j] = dot(x[row i], w[16 group + j]) for i < n <= most_rows, n_groups <= kMatrixGroups; row i is
  // index[i], or first + i without an index. Rows in tiles allow no index, and `first` must be the start of a tile. y
  // has room for matrix_floats(); the space past the results may be overwritten.
  void (*matrix)(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, const int32_t* index, int64_t first,
                 int64_t n, float* y);
  // Adds the blocks of dot that x has to the sums y[i * stride + j] of its rows i < n.
  void (*add)(const Matrix& w, int64_t group, int64_t n_groups, const Packed& x, int64_t n, float* y, int64_t stride);
  int64_t few_rows = 1;     // at most kFewRows: share the reading of weights, and are not packed in tiles
  bool pairs = false;       // several rows are packed as pairs too
  bool integers = false;    // a lone row is packed as integers too
  int64_t dense_bytes = 0;  // several rows stay as they are, in elements of so many bytes; 0: they do not
  int64_t row_tile = 1;     // rows that are packed together: sixteen for a matrix unit
  int64_t most_rows = 128;  // of one call
  int64_t work_floats = 0;  // that matrix() needs after its results

  bool in_tiles(int64_t rows) const { return row_tile > 1 && rows > few_rows; }
  int64_t packed_floats(int64_t rows, int64_t k) const;  // room for so many rows, or fewer
  int64_t matrix_floats() const;  // too much for the stack: threads of a host program may have small ones
  Packed packed(const float* memory, int64_t rows, int64_t k) const;  // what `pack` made of all rows
};
inline constexpr int64_t kMatrixGroups = 16;  // at most, at once: the more of them, the less often x is read
inline constexpr int64_t kVectorGroups = 4;   // at once for a single row: a number of streams that memory handles well
inline constexpr int64_t kFewRows = 8;

// Faster ways to the same bits, on some processors and for some numbers.
enum class MatrixUnit : uint8_t { kNone, kAmx, kEmulated };  // emulated: for tests
struct DotPaths {
  bool pairs = false;                   // products of bf16 pairs (pairs.h), for several rows
  bool integers = false;                // sums of products of bytes (integers.h), for FP4 weights and a lone row
  MatrixUnit unit = MatrixUnit::kNone;  // tiles of bf16 (tile_dot.h), for several rows
};
DotPaths possible_paths();
DotPaths vector_paths();  // the fastest ones without a matrix unit
DotPaths fastest_paths();

const DotFns& dot_fns(DType weight, DType activation, const DotPaths& paths);

}  // namespace v4rt::simd
