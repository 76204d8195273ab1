#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace v4rt {

// What one element of a tensor is in memory. Quantised types carry E8M0 scales in a plane of their own
// (Tensor::scales).
enum class DType : uint8_t {
  kF32,
  kBF16,
  kF16,
  kI32,
  kU8,   // raw bytes: packed cache rows (ops/attention/row_format.h)
  kFp8,  // E4M3, one E8M0 scale per 128 x 128 block of the last two dimensions
  kFp4,  // E2M1, two per byte (low nibble = even index), one E8M0 scale per 32 elements of a row
};

struct DTypeInfo {
  std::string_view name;
  int bits;                    // per element, scales excluded
  int scale_rows, scale_cols;  // elements that share one scale byte; 0 x 0 when there is no scale plane
  int dot_block;               // elements of K that a dot product sums before it adds to the total (exact_math.h)
};

const DTypeInfo& info(DType dtype);
inline bool is_quantised(DType dtype) { return info(dtype).scale_cols != 0; }

// How the rows of a weight matrix lie in memory.
//   kRows    as in the file: row-major.
//   kRows16  rows in groups of 16, interleaved by 32-bit word: word w of row r of group g lies at
//            ((g * words_per_row) + w) * 16 + r. One vector load gives the same 8 (FP4), 4 (FP8), 2 (BF16, F16) or 1
//            (F32) consecutive k of sixteen rows. Missing rows and the tail of the last word are zero. The FP4 scale
//            plane is interleaved likewise, by byte: scale s of row r at ((g * scales_per_row) + s) * 16 + r; the FP8
//            plane keeps its order.
enum class Layout : uint8_t { kRows, kRows16 };

// Of what is said above: goes up when a layout or a storage format changes, so that files of repacked weights are made
// anew.
inline constexpr uint64_t kLayoutVersion = 1;

}  // namespace v4rt
