#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace v4rt {

// How the elements of a tensor are stored.
enum class DType : uint8_t {
  kF32,
  kBF16,
  kF16,
  kI32,
  kU8,   // raw bytes: packed cache rows (ops/attention/row_format.h)
  kFp8,  // E4M3, one E8M0 scale per 128 x 128 block of the last two dimensions
  kFp4,  // E2M1, two per byte (low nibble = even index), one E8M0 scale per 32 elements of a row
};

// Where the scales of a quantised type are.
enum class Scales : uint8_t {
  kNone,   // not a quantised type
  kPlane,  // E8M0 bytes in a plane of their own (Tensor::scales), one per scale_rows x scale_cols elements
  kBlock,  // inside the blocks, in a form that depends on the type: GGUF's types, such as Q4_0 with 18 bytes per 32
           // elements
};

// A row of n elements is stored as ceil(n / block) blocks of block_bytes.
struct DTypeInfo {
  std::string_view name;
  int block, block_bytes;  // including scales of kBlock, but not those of kPlane
  Scales scales;
  int scale_rows, scale_cols;  // of kPlane: the elements that share one scale

  int64_t row_bytes(int64_t n) const;  // throws Error(kInvalidArgument) on overflow
  double bytes_per_element() const { return static_cast<double>(block_bytes) / block; }
};

const DTypeInfo& info(DType dtype);
inline bool has_scale_plane(DType dtype) { return info(dtype).scales == Scales::kPlane; }

// How the rows of a weight matrix are laid out in memory.
//   kRows    as in the file: row-major.
//   kRows16  rows in groups of 16, interleaved by 32-bit word: word w of row r of group g lies at
//            ((g * words_per_row) + w) * 16 + r. One vector load gives the same 8 (FP4), 4 (FP8), 2 (BF16, F16) or 1
//            (F32) consecutive k of sixteen rows. Missing rows and the tail of the last word are zero. The FP4 scale
//            plane is interleaved likewise, by byte: scale s of row r at ((g * scales_per_row) + s) * 16 + r; the FP8
//            plane keeps its order.
//   kDense   every number as F32, scales applied: row-major, rows and their lengths rounded up to sixteen with zeros,
//            without a scale plane. For products that know of no format.
enum class Layout : uint8_t { kRows, kRows16, kDense };
std::string_view name(Layout layout);  // "rows16"

// To be raised whenever a layout or the storage of a dtype changes, so that files of repacked weights are written
// again.
inline constexpr uint64_t kLayoutVersion = 1;

}  // namespace v4rt
