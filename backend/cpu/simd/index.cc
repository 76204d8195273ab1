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

// In place, a number that orders as the score does; the two zeros are one.
void to_orders(float* scores, int64_t n, uint32_t* orders) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = em_bits(scores[i] + 0.0f);
    orders[i] = u ^ ((u >> 31) != 0 ? 0xffffffffu : 0x80000000u);
  }
}

int64_t count_from(const uint32_t* orders, int64_t n, uint32_t least) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 4096) {  // counted in 32 bits, as wide as the numbers
    const int64_t some = std::min<int64_t>(4096, n - i);
    uint32_t part = 0;
    for (int64_t j = 0; j < some; ++j) part += orders[i + j] >= least ? 1u : 0u;
    count += part;
  }
  return count;
}

// Bisection over the bits of the smallest order that is selected, then one pass that collects.
void select(float* scores, int64_t n, int64_t k, int32_t* indices) {
  auto* orders = reinterpret_cast<uint32_t*>(scores);
  to_orders(scores, n, orders);
  uint32_t least = 0;
  int64_t from_least = n;
  for (uint32_t bit = 0x80000000u; bit != 0 && from_least != k; bit >>= 1) {
    const int64_t count = count_from(orders, n, least | bit);
    if (count < k) continue;
    least |= bit;
    from_least = count;
  }
  int64_t ties = from_least == k ? k : k - count_from(orders, n, least + 1);  // how many of exactly `least` are selected
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t some = std::min<int64_t>(16, n - i);
    uint32_t largest = 0;
    for (int64_t j = 0; j < some; ++j) largest = std::max(largest, orders[i + j]);
    if (largest < least) continue;
    for (int64_t j = i; j < i + some; ++j) {
      if (orders[j] < least || (orders[j] == least && ties-- <= 0)) continue;
      *indices++ = static_cast<int32_t>(j);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(turn);
HWY_EXPORT(turn_fp4);
HWY_EXPORT(scores_of);
HWY_EXPORT(select);

void turn_keys(const float* keys, int64_t n, int64_t dim, float* panel) { HWY_DYNAMIC_DISPATCH(turn)(keys, n, dim, panel); }

void turn_fp4_keys(const RowFormat& format, const uint8_t* rows, int64_t n, float* panel) {
  HWY_DYNAMIC_DISPATCH(turn_fp4)(format, rows, n, panel);
}

void index_scores(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds, float* scores) {
  HWY_DYNAMIC_DISPATCH(scores_of)(panel, dim, q, weights, heads, rounds, scores);
}

void select_largest(float* scores, int64_t n, int64_t k, int32_t* indices) { HWY_DYNAMIC_DISPATCH(select)(scores, n, k, indices); }

}  // namespace v4rt::simd
#endif
