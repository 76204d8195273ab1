#include "backend/cpu/simd/index.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/index.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>

#include "backend/cpu/simd/tile-inl.h"
#include "backend/cpu/simd/weights-inl.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

constexpr int64_t kHeadChunk = 16;  // heads whose dots wait on the stack

void turn(const float* keys, int64_t n, int64_t dim, float* panel) {
  if (n < kIndexKeys) std::fill_n(panel, dim * kIndexKeys, 0.0f);
  transpose(keys, n, dim, dim, panel, kIndexKeys);
}

template <int J = 0>
HWY_INLINE void turn_word(const uint32_t* word, const F16& scale, float* panel) {
  if constexpr (J < Fp4Weights::kUnit) {
    store16(Fp4Weights::decode<J>(word) * scale, panel + J * kIndexKeys);
    turn_word<J + 1>(word, scale, panel);
  }
}

// Eight codes of a key are one word. The words are turned as they are, then widened for sixteen keys at a time, as weights are.
void turn_fp4(const RowFormat& format, const uint8_t* rows, int64_t n, float* panel) {
  const int64_t width = format.bytes(), words = format.dim / 8;
  HWY_ALIGN uint32_t turned[4 * kIndexKeys];
  HWY_ALIGN uint8_t scales[kIndexKeys] = {};
  for (int64_t at = 0; at < words; at += 4) {  // as many words as share a scale
    const int64_t some = std::min<int64_t>(4, words - at);
    if (n < kIndexKeys) std::fill_n(turned, 4 * kIndexKeys, 0u);
    transpose(reinterpret_cast<const uint32_t*>(rows) + at, n, some, width / 4, turned, kIndexKeys);
    for (int64_t i = 0; i < n; ++i) scales[i] = rows[i * width + format.scale_offset() + at / 4];
    for (int64_t first = 0; first < kIndexKeys; first += 16) {
      const F16 scale = scales16(scales + first) * splat(Fp4Weights::kFactor);
      for (int64_t w = 0; w < some; ++w) turn_word(turned + w * kIndexKeys + first, scale, panel + (at + w) * 8 * kIndexKeys + first);
    }
  }
}

// d[h][j] = dot(q[h], key j) for n heads.
HWY_INLINE void head_dots(const float* panel, int64_t dim, const float* q, int64_t n, float* d) {
  std::fill_n(d, n * kIndexKeys, 0.0f);
  for (int64_t at = 0; at < dim; at += 128) {
    const auto row = [&](int64_t h) HWY_ATTR { return q + h * dim + at; };
    const int64_t live = std::min<int64_t>(128, dim - at);
    tile_rows<2, 128>(panel + at * kIndexKeys, live, n, row, d, kIndexKeys);
  }
}

void scores_of(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds, float* scores) {
  float sum[kIndexKeys] = {};
  for (int64_t first = 0; first < heads; first += kHeadChunk) {
    const int64_t n = std::min(kHeadChunk, heads - first);
    HWY_ALIGN float d[kHeadChunk * kIndexKeys];
    head_dots(panel, dim, q + first * dim, n, d);
    for (int64_t h = 0; h < n; ++h) {
      const float w = weights[first + h];
      const float* dot = d + h * kIndexKeys;
      if (rounds) {
        for (int64_t j = 0; j < kIndexKeys; ++j) sum[j] += em_bf16(w * em_max(em_bf16(dot[j]), 0.0f));
      } else {
        for (int64_t j = 0; j < kIndexKeys; ++j) sum[j] = em_fma(w, em_max(dot[j], 0.0f), sum[j]);
      }
    }
  }
  for (int64_t j = 0; j < kIndexKeys; ++j) scores[j] = rounds ? em_bf16(sum[j]) : sum[j];
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {
namespace {

// Orders as the float does; the two zeros are one.
uint32_t order_of(float score) {
  const uint32_t u = em_bits(score + 0.0f);
  return (u >> 31) != 0 ? ~u : u | 0x80000000u;
}

// Among scores whose upper bits are `prefix`, the value of the next digit that the k-th largest has; k becomes its rank among
// the scores with that digit.
uint32_t find_digit(const float* scores, int64_t n, uint32_t prefix, int shift, int bits, int64_t& k) {
  int32_t histogram[2048] = {};
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t order = order_of(scores[i]);
    if ((order >> (shift + bits)) == prefix) ++histogram[(order >> shift) & mask];
  }
  uint32_t digit = mask;
  for (; histogram[digit] < k; --digit) k -= histogram[digit];
  return digit;
}

}  // namespace

HWY_EXPORT(turn);
HWY_EXPORT(turn_fp4);
HWY_EXPORT(scores_of);

void turn_keys(const float* keys, int64_t n, int64_t dim, float* panel) { HWY_DYNAMIC_DISPATCH(turn)(keys, n, dim, panel); }

void turn_fp4_keys(const RowFormat& format, const uint8_t* rows, int64_t n, float* panel) {
  HWY_DYNAMIC_DISPATCH(turn_fp4)(format, rows, n, panel);
}

void index_scores(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds, float* scores) {
  HWY_DYNAMIC_DISPATCH(scores_of)(panel, dim, q, weights, heads, rounds, scores);
}

// Radix selection: three histograms find the k-th largest, one pass collects.
void select_largest(const float* scores, int64_t n, int64_t k, int32_t* indices) {
  int64_t ties = k;
  uint32_t least = 0;
  for (const auto& [shift, bits] : {std::pair{21, 11}, std::pair{10, 11}, std::pair{0, 10}}) {
    least = (least << bits) | find_digit(scores, n, least, shift, bits, ties);
  }
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t order = order_of(scores[i]);
    if (order < least || (order == least && ties-- <= 0)) continue;
    *indices++ = static_cast<int32_t>(i);
  }
}

}  // namespace v4rt::simd
#endif
