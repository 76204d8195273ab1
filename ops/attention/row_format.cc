#include "ops/attention/row_format.h"

#include <algorithm>
#include <cstring>

#include "ops/core/arith.h"
#include "ops/core/error.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

void put_f32(uint8_t* at, float v) {
  const em_uint bits = em_bits(em_canonical(v));
  std::memcpy(at, &bits, 4);
}

void put_bf16(uint8_t* at, float v) {
  const auto upper = static_cast<uint16_t>(em_bits(em_bf16(em_canonical(v))) >> 16);
  std::memcpy(at, &upper, 2);
}

float get_bf16(const uint8_t* at) {
  uint16_t upper = 0;
  std::memcpy(&upper, at, 2);
  return em_float(static_cast<uint32_t>(upper) << 16);
}

}  // namespace

int64_t RowFormat::bytes() const {
  switch (kind) {
    case Kind::kF32: return int64_t{4} * dim;
    case Kind::kBF16: return int64_t{2} * dim;
    case Kind::kFp8Tail: return round_up(scale_offset() + round_up(codes(), 64) / 64, 8);
    case Kind::kFp4: break;
  }
  return round_up(scale_offset() + round_up(dim, 32) / 32, 4);
}

std::string RowFormat::describe() const {
  static constexpr const char* kNames[] = {"f32", "bf16", "fp8_tail", "fp4"};
  return fmt::format("{}:{}:{}", kNames[static_cast<size_t>(kind)], dim, tail);
}

void encode_row(const RowFormat& format, std::span<const float> values, uint8_t* row) {
  if (format.kind == RowFormat::Kind::kF32) {
    for (size_t i = 0; i < values.size(); ++i) put_f32(row + 4 * i, values[i]);
    return;
  }
  if (format.kind == RowFormat::Kind::kBF16) {
    for (size_t i = 0; i < values.size(); ++i) put_bf16(row + 2 * i, values[i]);
    return;
  }
  std::fill_n(row, format.bytes(), uint8_t{0});
  const bool fp8 = format.kind == RowFormat::Kind::kFp8Tail;
  const auto codes = static_cast<size_t>(format.codes()), block = static_cast<size_t>(format.scale_block());
  uint8_t* scales = row + format.scale_offset();
  for (size_t begin = 0; begin < codes; begin += block) {
    const size_t end = std::min(begin + block, codes);
    em_uint amax = 0;
    for (size_t i = begin; i < end; ++i) amax = std::max(amax, em_magnitude(values[i]));
    const em_uint scale = fp8 ? em_fp8_scale(amax) : em_fp4_scale(amax);
    scales[begin / block] = static_cast<uint8_t>(scale);
    const float inverse = em_inverse_scale(scale);
    for (size_t i = begin; i < end; ++i) {
      if (fp8) {
        row[i] = static_cast<uint8_t>(em_e4m3_code(em_round_e4m3(em_clamp(values[i] * inverse, 448.0f))));
      } else {
        const em_uint code = em_e2m1_code(em_round_e2m1(em_clamp(values[i] * inverse, 6.0f)));
        row[i / 2] = static_cast<uint8_t>(row[i / 2] | (code << (4 * (i & 1))));
      }
    }
  }
  for (size_t i = codes; i < values.size(); ++i) put_bf16(row + format.tail_offset() + 2 * (i - codes), values[i]);
}

void decode_row(const RowFormat& format, const uint8_t* row, std::span<float> values) {
  if (format.kind == RowFormat::Kind::kF32) {
    std::memcpy(values.data(), row, values.size_bytes());
    return;
  }
  if (format.kind == RowFormat::Kind::kBF16) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = get_bf16(row + 2 * i);
    return;
  }
  const bool fp8 = format.kind == RowFormat::Kind::kFp8Tail;
  const auto codes = static_cast<size_t>(format.codes()), block = static_cast<size_t>(format.scale_block());
  const uint8_t* scales = row + format.scale_offset();
  for (size_t i = 0; i < codes; ++i) {
    const float value = fp8 ? em_e4m3(row[i]) : em_e2m1((row[i / 2] >> (4 * (i & 1))) & 15u);
    values[i] = value * em_e8m0(scales[i / block]);
  }
  for (size_t i = codes; i < values.size(); ++i) values[i] = get_bf16(row + format.tail_offset() + 2 * (i - codes));
}

}  // namespace v4rt
