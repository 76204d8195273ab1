#include "backend/cpu/simd/index.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/index.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>

#include "backend/cpu/simd/integers-inl.h"
#include "backend/cpu/simd/integers.h"
#include "backend/cpu/simd/tile-inl.h"
#include "backend/cpu/simd/weights-inl.h"
#include "ops/core/arith.h"

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

// Eight codes of a key are one word. The words are transposed, then widened for sixteen keys at a time, like weights.
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
      for (int64_t w = 0; w < some; ++w)
        turn_word(turned + w * kIndexKeys + first, scale, panel + (at + w) * 8 * kIndexKeys + first);
    }
  }
}

// d[h][j] = dot(q[h], key j) for n heads.
HWY_INLINE void head_dots(const float* panel, int64_t dim, const float* q, int64_t n, float* d) {
  std::fill_n(d, n * kIndexKeys, 0.0f);
  const auto row = [&](int64_t h) HWY_ATTR { return q + h * dim; };
  tile_rows<2>(panel, dim, n, row, d, kIndexKeys);
}

// Adds the heads' contributions, from dots d[h][j], to the sums, in the order of heads.
HWY_INLINE void add_heads(const float* d, const float* weights, int64_t n, bool rounds, float* sum) {
  for (int64_t h = 0; h < n; ++h, d += kIndexKeys) {
    const float w = weights[h];
    if (rounds) {
      for (int64_t j = 0; j < kIndexKeys; ++j) sum[j] += em_bf16(w * em_max(0.0f, em_bf16(d[j])));
    } else {
      for (int64_t j = 0; j < kIndexKeys; ++j) sum[j] = em_fma(w, em_max(0.0f, d[j]), sum[j]);
    }
  }
}

// dots(first, n, d): d[h][j] of heads first + h.
template <class Dots>
HWY_INLINE void scores_by(const Dots& dots, const float* weights, int64_t heads, bool rounds, float* scores) {
  float sum[kIndexKeys] = {};
  for (int64_t first = 0; first < heads; first += kHeadChunk) {
    const int64_t n = std::min(kHeadChunk, heads - first);
    HWY_ALIGN float d[kHeadChunk * kIndexKeys];
    dots(first, n, d);
    add_heads(d, weights + first, n, rounds, sum);
  }
  for (int64_t j = 0; j < kIndexKeys; ++j) scores[j] = rounds ? em_bf16(sum[j]) : sum[j];
}

void scores_of(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds,
               float* scores) {
  const auto dots = [&](int64_t first, int64_t n, float* d) HWY_ATTR { head_dots(panel, dim, q + first * dim, n, d); };
  scores_by(dots, weights, heads, rounds, scores);
}

constexpr int kUnfit = 1000;  // larger than any spread that is allowed
constexpr int kLeastExponent = -40,
              kMostExponent = 40;  // of units and scales, so that no product comes near the limits of the range

struct Spread {
  int least = kMostExponent + 1, most = kLeastExponent - 1;
  void add(int exponent) {
    least = std::min(least, exponent);
    most = std::max(most, exponent);
  }
  int of() const { return most < least ? 0 : least < kLeastExponent || most > kMostExponent ? kUnfit : most - least; }
};

int turn_words(const RowFormat& format, const uint8_t* rows, int64_t n, uint32_t* words, float* scales) {
  const int64_t width = format.bytes(), n_words = format.dim / 8, blocks = format.dim / 32;
  if (n < kIndexKeys) {
    std::fill_n(words, n_words * kIndexKeys, 0u);
    std::fill_n(scales, blocks * kIndexKeys, 0.0f);
  }
  transpose(reinterpret_cast<const uint32_t*>(rows), n, n_words, width / 4, words, kIndexKeys);
  int spread = 0;
  for (int64_t i = 0; i < n; ++i) {
    Spread of_key;
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t scale = rows[i * width + format.scale_offset() + b];
      of_key.add(int{scale} - 127);
      scales[b * kIndexKeys + i] = em_e8m0(scale);
    }
    spread = std::max(spread, of_key.of());
  }
  return spread;
}

int pack_query([[maybe_unused]] const float* q, [[maybe_unused]] int64_t heads, [[maybe_unused]] int64_t dim,
               [[maybe_unused]] Integers* to) {
#if HWY_TARGET == HWY_AVX3
  int spread = 0;
  for (int64_t h = 0; h < heads; ++h) {
    Spread of_head;
    for (int64_t at = 0; at < dim; at += 32, q += 32, ++to) {
      pack_integers(q, *to);
      if (to->limbs != 1) return kUnfit;
      int32_t any = 0;
      for (const int8_t x : to->limb[0]) any |= x;
      if (any != 0) of_head.add(static_cast<int>(em_bits(to->scale) >> 23) - 127);
    }
    spread = std::max(spread, of_head.of());
  }
  return spread;
#else
  return kUnfit;
#endif
}

void scores_of_integers([[maybe_unused]] const uint32_t* words, [[maybe_unused]] const float* key_scales,
                        [[maybe_unused]] int64_t dim, [[maybe_unused]] const Integers* q, const float* weights,
                        int64_t heads, bool rounds, float* scores) {
#if HWY_TARGET == HWY_AVX3
  const int64_t blocks = dim / 32;
  const auto dots = [&](int64_t first, int64_t n, float* d) HWY_ATTR {
    std::fill_n(d, n * kIndexKeys, 0.0f);
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t j = 0; j < kIndexKeys; j += 16) {
        const F16 factor = load16(key_scales + b * kIndexKeys + j) * splat(Fp4Weights::kFactor);
        __m512i bytes[8];
        for (int w = 0; w < 4; ++w) decode_bytes(words + (4 * b + w) * kIndexKeys + j, bytes[2 * w], bytes[2 * w + 1]);
        for (int64_t h = 0; h < n; ++h) {
          const Integers& x = q[(first + h) * blocks + b];
          __m512i sum = _mm512_set1_epi32(x.offset);
#pragma GCC unroll 8
          for (int i = 0; i < 8; ++i) add_products(sum, bytes[i], x.limb[0] + 4 * i);
          const F16 dot(VF{_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(x.scale))});
          store16(fma(dot, factor, load16(d + h * kIndexKeys + j)), d + h * kIndexKeys + j);
        }
      }
    }
  };
  scores_by(dots, weights, heads, rounds, scores);
#else
  scores_by([](int64_t, int64_t, float*) {}, weights, heads, rounds, scores);
#endif
}

void to_orders(float* scores, int64_t n, uint32_t* largest) {
  auto* orders = reinterpret_cast<uint32_t*>(scores);
  for (int64_t i = 0; i < n; i += kIndexKeys) {
    const int64_t some = std::min(kIndexKeys, n - i);
    uint32_t most = 0;
    for (int64_t j = i; j < i + some; ++j) {
      orders[j] = em_order(scores[j]);
      most = std::max(most, orders[j]);
    }
    *largest++ = most;
  }
}

HWY_INLINE int64_t count_from(const uint32_t* orders, int64_t n, uint32_t least) {
  uint32_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += orders[i] >= least ? 1u : 0u;
  return count;
}

// The largest number with count(it) >= k, by bisection over its bits, or one that exactly k values reach. It is at
// least `known`, and no value is above `most`.
template <class Count>
HWY_INLINE uint32_t bisect(uint32_t known, uint32_t most, int64_t k, const Count& count) {
  uint32_t least = 0;
  for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    const uint32_t middle = least | bit;
    const int64_t reach = middle <= known ? k + 1 : middle > most ? 0 : count(middle);
    if (reach >= k) least = middle;
    if (reach == k) break;
  }
  return least;
}

// The k largest are in groups whose maximum reaches that of the k-th group.
void select(const uint32_t* orders, uint32_t* largest, int64_t n, int64_t k, int32_t* indices) {
  const int64_t groups = ceil_div(n, kIndexKeys);
  const auto count_groups = [&](uint32_t least) HWY_ATTR { return count_from(largest, groups, least); };
  uint32_t most = 0;
  for (int64_t g = 0; g < groups; ++g) most = std::max(most, largest[g]);
  const uint32_t reached = groups < k ? 0 : bisect(0, most, k, count_groups);
  int64_t few = 0;  // their numbers overwrite the array of largest orders
  for (int64_t g = 0; g < groups; ++g)
    if (largest[g] >= reached) largest[few++] = static_cast<uint32_t>(g);
  const auto live = [&](uint32_t group) { return std::min(kIndexKeys, n - int64_t{group} * kIndexKeys); };
  const auto count = [&](uint32_t least) HWY_ATTR {
    int64_t sum = 0;
    for (int64_t i = 0; i < few; ++i) sum += count_from(orders + largest[i] * kIndexKeys, live(largest[i]), least);
    return sum;
  };
  // Those that reach it are few as a rule, and find place behind the numbers of their groups.
  uint32_t* const candidates = largest + few;
  const int64_t n_candidates = count(reached);
  const auto count_candidates = [&](uint32_t least) HWY_ATTR { return count_from(candidates, n_candidates, least); };
  uint32_t least = 0;
  if (n_candidates <= groups - few) {
    int64_t at = 0;
    for (int64_t i = 0; i < few; ++i)
      for (int64_t j = largest[i] * kIndexKeys, end = j + live(largest[i]); j < end; ++j)
        if (orders[j] >= reached) candidates[at++] = orders[j];
    least = bisect(reached, most, k, count_candidates);
  } else {
    least = bisect(reached, most, k, count);
  }
  int64_t ties = least == most ? k : k - count(least + 1);  // how many of exactly `least` are selected
  for (int64_t i = 0; i < few; ++i) {
    const int64_t first = largest[i] * kIndexKeys, end = first + live(largest[i]);
    for (int64_t j = first; j < end; ++j) {
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
HWY_EXPORT(turn_words);
HWY_EXPORT(pack_query);
HWY_EXPORT(scores_of_integers);
HWY_EXPORT(to_orders);
HWY_EXPORT(select);

void turn_keys(const float* keys, int64_t n, int64_t dim, float* panel) {
  HWY_DYNAMIC_DISPATCH(turn)(keys, n, dim, panel);
}

void turn_fp4_keys(const RowFormat& format, const uint8_t* rows, int64_t n, float* panel) {
  HWY_DYNAMIC_DISPATCH(turn_fp4)(format, rows, n, panel);
}

void index_scores(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds,
                  float* scores) {
  HWY_DYNAMIC_DISPATCH(scores_of)(panel, dim, q, weights, heads, rounds, scores);
}

bool index_integers_work(const RowFormat& format) {
  return format.kind == RowFormat::Kind::kFp4 && format.dim % 32 == 0 && format.dim <= kPackBlock && integers_work();
}

int pack_index_query(const float* q, int64_t heads, int64_t dim, Integers* to) {
  return HWY_DYNAMIC_DISPATCH(pack_query)(q, heads, dim, to);
}

int turn_fp4_words(const RowFormat& format, const uint8_t* rows, int64_t n, uint32_t* words, float* scales) {
  return HWY_DYNAMIC_DISPATCH(turn_words)(format, rows, n, words, scales);
}

void index_scores_of_integers(const uint32_t* words, const float* key_scales, int64_t dim, const Integers* q,
                              const float* weights, int64_t heads, bool rounds, float* scores) {
  HWY_DYNAMIC_DISPATCH(scores_of_integers)(words, key_scales, dim, q, weights, heads, rounds, scores);
}

void order_scores(float* scores, int64_t n, uint32_t* largest) { HWY_DYNAMIC_DISPATCH(to_orders)(scores, n, largest); }

void select_largest(const uint32_t* orders, uint32_t* largest, int64_t n, int64_t k, int32_t* indices) {
  HWY_DYNAMIC_DISPATCH(select)(orders, largest, n, k, indices);
}

}  // namespace v4rt::simd
#endif
