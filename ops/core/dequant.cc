#include "ops/core/dequant.h"

#include <algorithm>
#include <cstring>

#include "ops/core/arith.h"
#include "ops/core/error.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

template <class T>
T load(const uint8_t* bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// FP8 and FP4 matrix stacks [.., n, k]: runs of elements that share a scale.
void dequantise_blocks(const Tensor& t, int64_t first, std::span<float> out) {
  const DTypeInfo& type = info(t.type.dtype);
  const Shape& shape = t.type.shape;
  const int64_t k = shape[-1], n = shape.rank() >= 2 ? shape[-2] : 1;
  const int64_t scale_cols = ceil_div(k, type.scale_cols), scale_rows = ceil_div(n, type.scale_rows);
  const auto count = static_cast<int64_t>(out.size());
  for (int64_t i = 0; i < count;) {
    const int64_t row = (first + i) / k, col = (first + i) % k;
    const int64_t end = i + std::min({type.scale_cols - col % type.scale_cols, k - col, count - i});
    const int64_t scale_row = row / n * scale_rows + row % n / type.scale_rows;
    const float scale = em_e8m0(t.scale_data()[scale_row * scale_cols + col / type.scale_cols]);
    if (t.type.dtype == DType::kFp8) {
      const uint8_t* codes = t.data<uint8_t>() + first;
      for (; i < end; ++i) out[static_cast<size_t>(i)] = em_e4m3(codes[i]) * scale;
    } else {
      const uint8_t* pairs = t.data<uint8_t>() + row * ceil_div(k, 2);
      for (int64_t c = col; i < end; ++i, ++c)
        out[static_cast<size_t>(i)] = em_e2m1((pairs[c / 2] >> (4 * (c & 1))) & 15u) * scale;
    }
  }
}

}  // namespace

float f16_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u, mantissa = bits & 1023u;
  if (exponent == 31) return em_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return em_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

void dequantise(const Tensor& tensor, int64_t first, std::span<float> out) {
  check(tensor.type.layout == Layout::kRows, Code::kInternal, "dequantise reads row-major tensors only");
  const uint8_t* bytes = tensor.data<uint8_t>();
  const auto each = [&](auto element) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = element(first + static_cast<int64_t>(i));
  };
  switch (tensor.type.dtype) {
    case DType::kF32: return each([&](int64_t i) { return load<float>(bytes, i); });
    case DType::kBF16:
      return each([&](int64_t i) { return em_float(static_cast<uint32_t>(load<uint16_t>(bytes, i)) << 16); });
    case DType::kF16: return each([&](int64_t i) { return f16_to_float(load<uint16_t>(bytes, i)); });
    case DType::kI32: return each([&](int64_t i) { return static_cast<float>(load<int32_t>(bytes, i)); });
    case DType::kU8: return each([&](int64_t i) { return static_cast<float>(bytes[i]); });
    case DType::kFp8:
    case DType::kFp4: return dequantise_blocks(tensor, first, out);
  }
}

void store(const Tensor& tensor, int64_t first, std::span<const float> values) {
  uint8_t* bytes = tensor.data<uint8_t>();
  if (tensor.type.dtype == DType::kF32) {
    std::memcpy(bytes + first * 4, values.data(), values.size_bytes());
    return;
  }
  check(tensor.type.dtype == DType::kBF16, Code::kInternal, "store writes f32 and bf16, not {}",
        info(tensor.type.dtype).name);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto upper = static_cast<uint16_t>(em_bits(em_bf16(values[i])) >> 16);
    std::memcpy(bytes + (first + static_cast<int64_t>(i)) * 2, &upper, 2);
  }
}

}  // namespace v4rt
