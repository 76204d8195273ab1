#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace v4rt {

// How one cache row of `dim` values is stored. The packed forms keep what fake_quant left, losslessly (spec
// section 7.8).
//   kF32, kBF16  dim numbers
//   kFp8Tail     (dim - tail) E4M3 codes | tail bf16 numbers | one E8M0 byte per 64 codes | zeros to a multiple of 8
//   kFp4         dim / 2 bytes of E2M1 pairs (low nibble = even index) | one E8M0 byte per 32 | zeros to a multiple of
//   4
struct RowFormat {
  enum class Kind : uint8_t { kF32, kBF16, kFp8Tail, kFp4 };
  Kind kind = Kind::kF32;
  int dim = 0;
  int tail = 0;  // kFp8Tail only: the rotary components, kept in bf16

  int64_t bytes() const;  // of one row
  int codes() const { return dim - tail; }
  int scale_block() const { return kind == Kind::kFp8Tail ? 64 : 32; }
  int64_t tail_offset() const { return codes(); }
  int64_t scale_offset() const { return kind == Kind::kFp8Tail ? codes() + 2 * tail : dim / 2; }
  std::string describe() const;  // "fp8_tail:512:64"
  bool operator==(const RowFormat&) const = default;
};

// Scalar definition of the format. encode_row chooses scales as fake_quant does; values that fake_quant made survive
// unchanged. A block that holds a NaN or an infinity has the scale 255 and decodes as NaN (exact_math.h).
void encode_row(const RowFormat& format, std::span<const float> values, uint8_t* row);
void decode_row(const RowFormat& format, const uint8_t* row, std::span<float> values);

}  // namespace v4rt
