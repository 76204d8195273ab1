#include "backend/cpu/simd/quant.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/quant.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/simd/weights-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

template <class T>
HWY_INLINE em_uint largest_magnitude(const T* x, int64_t n) {
  em_uint largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, em_magnitude(load(x + i)));
  return largest;
}

template <class T, QuantGrid kGrid>
void fake_quant_row(const void* x_row, int64_t n, int64_t dims, int64_t block, void* y_row) {
  const T* x = static_cast<const T*>(x_row);
  T* y = static_cast<T*>(y_row);
  for (int64_t begin = 0; begin < dims; begin += block) {
    const int64_t end = std::min(begin + block, dims);
    const em_uint amax = largest_magnitude(x + begin, end - begin);
    const em_uint scale = kGrid == QuantGrid::kFp8 ? em_fp8_scale(amax) : em_fp4_scale(amax);
    for (int64_t i = begin; i < end; ++i) {
      store(kGrid == QuantGrid::kFp8 ? em_fake_fp8(load(x + i), scale) : em_fake_fp4(load(x + i), scale), y + i);
    }
  }
  std::copy(x + dims, x + n, y + dims);
}

template <class T>
void hadamard_row(const void* x_row, int64_t n, float scale, void* y_row) {
  const T* x = static_cast<const T*>(x_row);
  T* y = static_cast<T*>(y_row);
  HWY_ALIGN float v[kMaxHadamard];
  for (int64_t i = 0; i < n; ++i) v[i] = load(x + i);
  for (int64_t h = 1; h < n; h *= 2) {
    for (int64_t first = 0; first < n; first += 2 * h) {
      float *low = v + first, *high = low + h;
      for (int64_t i = 0; i < h; ++i) {
        const float a = low[i], b = high[i];
        low[i] = a + b;
        high[i] = a - b;
      }
    }
  }
  for (int64_t i = 0; i < n; ++i) store(v[i] * scale, y + i);
}

template <class T>
HWY_INLINE void encode_fp8(const RowFormat& format, const T* x, uint8_t* row) {
  uint8_t* scales = row + format.scale_offset();
  for (int64_t begin = 0; begin < format.codes(); begin += 64) {
    const int64_t end = std::min<int64_t>(begin + 64, format.codes());
    const em_uint scale = em_fp8_scale(largest_magnitude(x + begin, end - begin));
    const float inverse = em_inverse_scale(scale);
    scales[begin / 64] = static_cast<uint8_t>(scale);
    for (int64_t i = begin; i < end; ++i) {
      row[i] = static_cast<uint8_t>(em_e4m3_code(em_round_e4m3(em_clamp(load(x + i) * inverse, 448.0f))));
    }
  }
  Bf16* tail = reinterpret_cast<Bf16*>(row + format.tail_offset());
  for (int64_t i = 0; i < format.tail; ++i) store(em_canonical(load(x + format.codes() + i)), tail + i);
}

template <class T>
HWY_INLINE void encode_fp4(const RowFormat& format, const T* x, uint8_t* row) {
  uint8_t* scales = row + format.scale_offset();
  for (int64_t begin = 0; begin < format.dim; begin += 32) {
    const int64_t n = std::min<int64_t>(32, format.dim - begin);
    const em_uint scale = em_fp4_scale(largest_magnitude(x + begin, n));
    const float inverse = em_inverse_scale(scale);
    scales[begin / 32] = static_cast<uint8_t>(scale);
    uint8_t codes[32] = {};
    for (int64_t i = 0; i < n; ++i) {
      codes[i] = static_cast<uint8_t>(em_e2m1_code(em_round_e2m1(em_clamp(load(x + begin + i) * inverse, 6.0f))));
    }
    for (int64_t i = 0; i < n; i += 2) row[(begin + i) / 2] = static_cast<uint8_t>(codes[i] | (codes[i + 1] << 4));
  }
}

template <class T>
void encode(const RowFormat& format, const void* x_row, uint8_t* row) {
  const T* x = static_cast<const T*>(x_row);
  switch (format.kind) {
    case RowFormat::Kind::kF32:
      for (int64_t i = 0; i < format.dim; ++i) store(em_canonical(load(x + i)), reinterpret_cast<float*>(row) + i);
      return;
    case RowFormat::Kind::kBF16:
      for (int64_t i = 0; i < format.dim; ++i) store(em_canonical(load(x + i)), reinterpret_cast<Bf16*>(row) + i);
      return;
    case RowFormat::Kind::kFp8Tail:
      std::memset(row + format.scale_offset(), 0, static_cast<size_t>(format.bytes() - format.scale_offset()));
      return encode_fp8(format, x, row);
    case RowFormat::Kind::kFp4:
      std::memset(row + format.scale_offset(), 0, static_cast<size_t>(format.bytes() - format.scale_offset()));
      return encode_fp4(format, x, row);
  }
}

template <class T>
void decode_plain(const RowFormat& format, const uint8_t* row, float* values) {
  const T* x = reinterpret_cast<const T*>(row);
  for (int64_t i = 0; i < format.dim; ++i) values[i] = load(x + i);
}

// Codes widened as FP8 weights are: sixteen at a time, with care where one of a block of 64 needs it.
template <bool kCareful>
HWY_INLINE void widen_codes(const uint8_t* codes, int64_t n, float scale, float* values) {
  const F16 factor = splat(scale * Fp8Weights::kFactor);
  for (int64_t i = 0; i < n; i += 16) {
    const F16 v = each([&](size_t part) HWY_ATTR {
      const VU u = place<24, 4>(hn::PromoteTo(DU(), hn::LoadU(DB(), codes + i + part * kLanes)));
      return kCareful ? widen_any<0x07f00000u, 0x07800000u>(u) : widen_normal<0x07f00000u>(u);
    });
    store16(v * factor, values + i);
  }
}

void decode_fp8(const RowFormat& format, const uint8_t* row, float* values) {
  const uint8_t* scales = row + format.scale_offset();
  const int64_t codes = format.codes();
  int64_t begin = 0;
  for (; begin + 64 <= codes; begin += 64) {
    const float scale = em_e8m0(scales[begin / 64]);
    if (HWY_UNLIKELY(Fp8Weights::rare(reinterpret_cast<const uint32_t*>(row + begin)))) {
      widen_codes<true>(row + begin, 64, scale, values + begin);
    } else {
      widen_codes<false>(row + begin, 64, scale, values + begin);
    }
  }
  for (int64_t i = begin; i < codes; ++i) values[i] = em_e4m3(row[i]) * em_e8m0(scales[i / 64]);
  const Bf16* tail = reinterpret_cast<const Bf16*>(row + format.tail_offset());
  for (int64_t i = 0; i < format.tail; ++i) values[codes + i] = load(tail + i);
}

void decode_fp4(const RowFormat& format, const uint8_t* row, float* values) {
  const uint8_t* scales = row + format.scale_offset();
  for (int64_t begin = 0; begin < format.dim; begin += 32) {
    const int64_t end = std::min<int64_t>(begin + 32, format.dim);
    const float scale = em_e8m0(scales[begin / 32]);
    for (int64_t i = begin; i + 1 < end; i += 2) {
      values[i] = em_e2m1(row[i / 2] & 15u) * scale;
      values[i + 1] = em_e2m1(row[i / 2] >> 4) * scale;
    }
    if ((end & 1) != 0) values[end - 1] = em_e2m1(row[end / 2] & 15u) * scale;
  }
}

FakeQuantFn fake_quant_for(bool bf16, bool fp8) {
  if (fp8) return bf16 ? fake_quant_row<Bf16, QuantGrid::kFp8> : fake_quant_row<float, QuantGrid::kFp8>;
  return bf16 ? fake_quant_row<Bf16, QuantGrid::kFp4> : fake_quant_row<float, QuantGrid::kFp4>;
}

HadamardFn hadamard_for(bool bf16) { return bf16 ? hadamard_row<Bf16> : hadamard_row<float>; }

EncodeFn encode_for(bool bf16) { return bf16 ? encode<Bf16> : encode<float>; }

DecodeFn decode_for(RowFormat::Kind kind) {
  switch (kind) {
    case RowFormat::Kind::kF32: return decode_plain<float>;
    case RowFormat::Kind::kBF16: return decode_plain<Bf16>;
    case RowFormat::Kind::kFp8Tail: return decode_fp8;
    case RowFormat::Kind::kFp4: break;
  }
  return decode_fp4;
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(fake_quant_for);
HWY_EXPORT(hadamard_for);
HWY_EXPORT(encode_for);
HWY_EXPORT(decode_for);

FakeQuantFn fake_quant(DType activation, QuantGrid grid) {
  return HWY_DYNAMIC_DISPATCH(fake_quant_for)(activation == DType::kBF16, grid == QuantGrid::kFp8);
}
HadamardFn hadamard(DType activation) { return HWY_DYNAMIC_DISPATCH(hadamard_for)(activation == DType::kBF16); }
float hadamard_scale(int64_t n) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(n))); }
EncodeFn encode_row(DType activation) { return HWY_DYNAMIC_DISPATCH(encode_for)(activation == DType::kBF16); }
DecodeFn decode_row(const RowFormat& format) { return HWY_DYNAMIC_DISPATCH(decode_for)(format.kind); }

}  // namespace v4rt::simd
#endif
