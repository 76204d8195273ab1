#include "backend/cpu/simd/tile_index.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/tile_index.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>

#include "backend/cpu/simd/integers-inl.h"
#include "backend/cpu/simd/tiles.h"
#include "ops/core/arith.h"

#ifndef V4RT_BACKEND_CPU_SIMD_TILE_INDEX_ONCE
#define V4RT_BACKEND_CPU_SIMD_TILE_INDEX_ONCE
namespace v4rt::simd {

constexpr int64_t kTileDims = 64;  // a row of a tile of bytes: two blocks of 32
constexpr int kMostShift = 3;      // the largest weight, 12 halves, is then 96

constexpr int64_t head_tiles(int64_t heads) { return ceil_div(heads, kTileRows); }

}  // namespace v4rt::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// Tile t of heads 16 i .. 16 i + 15 at (i * dim / 64 + t) tiles; then what one is worth, for each head.
bool pack_query_tiles(const Integers* q, int64_t heads, int64_t dim, float* to) {
  const int64_t blocks = dim / 32, tiles = head_tiles(heads) * (dim / kTileDims);
  auto* bytes = reinterpret_cast<int8_t*>(to);
  float* units = to + tiles * kTileWords;
  std::fill_n(to, IndexTiles::query_floats(heads, dim), 0.0f);
  for (int64_t h = 0; h < heads; ++h, q += blocks) {
    float unit = q[0].scale;
    for (int64_t b = 1; b < blocks; ++b) unit = std::min(unit, q[b].scale);
    units[h] = unit;
    for (int64_t b = 0; b < blocks; ++b) {
      const float factor = q[b].scale / unit;
      if (factor > 127) return false;
      const int64_t tile = h / kTileRows * (dim / kTileDims) + b / 2;
      int8_t* row = bytes + tile * kTileBytes + h % kTileRows * 64 + b % 2 * 32;
      for (int i = 0; i < 32; ++i) {
        const int number = q[b].limb[0][i] * static_cast<int>(factor);
        if (number < -127 || number > 127) return false;
        row[i] = static_cast<int8_t>(number);
      }
    }
  }
  return true;
}

// Codes of sixteen keys, one per byte, shifted by what `shift` holds in bits 4 and 5 of each byte.
HWY_INLINE __m512i shifted_bytes(__m512i codes, __m512i shift) {
  const __m128i halves = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
  __m512i table = _mm512_castsi128_si512(halves);
  const auto doubled = [](__m128i v) HWY_ATTR { return _mm_add_epi8(v, v); };
  const __m128i by_1 = doubled(halves), by_2 = doubled(by_1), by_3 = doubled(by_2);
  table = _mm512_inserti32x4(table, by_1, 1);
  table = _mm512_inserti32x4(table, by_2, 2);
  table = _mm512_inserti32x4(table, by_3, 3);
  const __m512i low = _mm512_set1_epi8(0x0f);
  return look_up(_mm512_or_si512(_mm512_and_si512(codes, low), shift), table);
}

// Tile t of keys 16 i .. 16 i + 15 at (i * dim / 64 + t) tiles: within eight numbers the even ones come first, as in
// Integers. Then what one is worth, for each key.
bool pack_key_tiles(const uint32_t* words, const float* scales, int64_t dim, float* to) {
  const int64_t blocks = dim / 32;
  auto* row = reinterpret_cast<uint32_t*>(to);
  float* units = to + kIndexKeys / 16 * dim / kTileDims * kTileWords;
  for (int64_t first = 0; first < kIndexKeys; first += 16) {
    __m512 unit = _mm512_loadu_ps(scales + first);
    for (int64_t b = 1; b < blocks; ++b) unit = _mm512_min_ps(unit, _mm512_loadu_ps(scales + b * kIndexKeys + first));
    _mm512_storeu_ps(units + first, _mm512_mul_ps(unit, _mm512_set1_ps(Fp4Weights::kFactor)));
    for (int64_t b = 0; b < blocks; ++b) {
      const __m512i scale = _mm512_castps_si512(_mm512_loadu_ps(scales + b * kIndexKeys + first));
      const __m512i shift = _mm512_srli_epi32(_mm512_sub_epi32(scale, _mm512_castps_si512(unit)), 23);
      if (_mm512_cmpgt_epu32_mask(shift, _mm512_set1_epi32(kMostShift)) != 0) return false;
      const __m512i of_bytes = _mm512_mullo_epi32(shift, _mm512_set1_epi32(0x10101010));
      for (int64_t w = 4 * b; w < 4 * b + 4; ++w, row += 32) {
        const __m512i codes = _mm512_loadu_si512(words + w * kIndexKeys + first);
        _mm512_storeu_si512(row, shifted_bytes(codes, of_bytes));
        _mm512_storeu_si512(row + 16, shifted_bytes(_mm512_srli_epi32(codes, 4), of_bytes));
      }
    }
  }
  return true;
}

// The heads' shares of the scores of sixteen keys: sums [heads, 16] of integers. `total` goes on from head to head.
void add_head_sums(const int32_t* sums, int64_t heads, const float* head_units, const float* key_units,
                   const float* weights, bool rounds, float* total) {
  const F16 of_keys = load16(key_units);
  const VF none = hn::Zero(DF());
  F16 score = load16(total);
  for (int64_t h = 0; h < heads; ++h) {
    const F16 unit = of_keys * splat(head_units[h]), weight = splat(weights[h]);
    const F16 dot = F16(hn::ConvertTo(DF(), hn::LoadU(DI(), sums + h * 16))) * unit;
    const F16 positive = F16(hn::Max(none, (rounds ? round_bf16(dot) : dot).part[0]));
    score = rounds ? score + round_bf16(weight * positive) : fma(weight, positive, score);
  }
  store16(score, total);
}

#else

bool pack_query_tiles(const Integers*, int64_t, int64_t, float*) { return false; }
bool pack_key_tiles(const uint32_t*, const float*, int64_t, float*) { return false; }
void add_head_sums(const int32_t*, int64_t, const float*, const float*, const float*, bool, float*) {}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {
namespace {

HWY_EXPORT(pack_query_tiles);
HWY_EXPORT(pack_key_tiles);
HWY_EXPORT(add_head_sums);

// sums [16 kCount, 16] of kCount tiles of heads with sixteen keys.
template <int kCount, class Tiles>
void multiply(Tiles& tiles, const float* heads, const float* keys, int64_t n, int32_t* sums) {
  constexpr int kHeads = kCount, kKeys = kCount + 1;
  const auto each = [](const auto& fn) {
    [&]<int... i>(std::integer_sequence<int, i...>) { (fn.template operator()<i>(), ...); }
    (std::make_integer_sequence<int, kCount>());
  };
  each([&]<int i>() { tiles.template zero<i>(); });
  for (int64_t t = 0; t < n; ++t) {
    tiles.template load<kKeys>(keys + t * kTileWords, 64);
    each([&]<int i>() {
      tiles.template load<kHeads>(heads + (i * n + t) * kTileWords, 64);
      tiles.template add_int8<i, kHeads, kKeys>();
    });
  }
  each([&]<int i>() { tiles.template store<i>(sums + i * kTileWords, 64); });
}

template <class Tiles>
void tile_scores(const float* query, const float* keys, int64_t dim, const float* weights, int64_t heads, bool rounds,
                 float* scores) {
  static const auto add = HWY_DYNAMIC_DISPATCH(add_head_sums);
  constexpr int64_t kAbreast = 4;  // tiles of heads
  const int64_t n = dim / kTileDims, of_heads = head_tiles(heads);
  const float *head_units = query + of_heads * n * kTileWords, *key_units = keys + kIndexKeys / 16 * n * kTileWords;
  std::fill_n(scores, kIndexKeys, 0.0f);
  Tiles tiles;
  for (int64_t first = 0; first < kIndexKeys; first += 16, keys += n * kTileWords) {
    for (int64_t i = 0; i < of_heads; i += kAbreast) {
      alignas(64) int32_t sums[kAbreast * kTileWords];
      const float* from = query + i * n * kTileWords;
      switch (std::min(kAbreast, of_heads - i)) {
        case 4: multiply<4>(tiles, from, keys, n, sums); break;
        case 3: multiply<3>(tiles, from, keys, n, sums); break;
        case 2: multiply<2>(tiles, from, keys, n, sums); break;
        default: multiply<1>(tiles, from, keys, n, sums);
      }
      const int64_t head = i * kTileRows, some = std::min(kAbreast * kTileRows, heads - head);
      add(sums, some, head_units + head, key_units + first, weights + head, rounds, scores + first);
    }
  }
  if (rounds)
    for (int64_t j = 0; j < kIndexKeys; ++j) scores[j] = em_bf16(scores[j]);
}

template <class Tiles>
const IndexTiles* fns() {
  static const IndexTiles kFns{HWY_DYNAMIC_DISPATCH(pack_query_tiles), HWY_DYNAMIC_DISPATCH(pack_key_tiles),
                               tile_scores<Tiles>};
  return &kFns;
}

}  // namespace

int64_t IndexTiles::query_floats(int64_t heads, int64_t dim) {
  return head_tiles(heads) * (dim / kTileDims * kTileWords + kTileRows);
}

int64_t IndexTiles::keys_floats(int64_t dim) { return kIndexKeys / 16 * dim / kTileDims * kTileWords + kIndexKeys; }

const IndexTiles* index_tiles(const RowFormat& format, MatrixUnit unit) {
  if (unit == MatrixUnit::kNone || !index_integers_work(format) || format.dim % kTileDims != 0) return nullptr;
#if defined(__x86_64__)
  if (unit == MatrixUnit::kAmx) return fns<AmxTiles>();
#endif
  return fns<EmulatedTiles>();
}

}  // namespace v4rt::simd
#endif
