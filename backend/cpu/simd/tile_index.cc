#include "backend/cpu/simd/tile_index.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/tile_index.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <utility>

#include "backend/cpu/simd/integers-inl.h"
#include "backend/cpu/simd/tiles.h"
#include "ops/core/arith.h"

#ifndef V4RT_BACKEND_CPU_SIMD_TILE_INDEX_ONCE
#define V4RT_BACKEND_CPU_SIMD_TILE_INDEX_ONCE
namespace v4rt::simd {

constexpr int64_t kTileDims = 64;    // a row of a tile of bytes: two blocks of 32
constexpr int kMostShift = 3;        // the largest weight, 12 halves, is then 96
constexpr int kUnsigned = 96;        // makes bytes of keys unsigned: see multiply_by_vectors
constexpr float kFarUnit = 0x1p30f;  // units of keys and queries, and head weights, lie within 1 / this and this

// A power of two that moves the first bits of a float, as many as bf16 keeps, to the end of a float's: see round_whole.
constexpr float kBf16Step = 0x1p16f;

constexpr int64_t padded_heads(int64_t heads) { return round_up(heads, kTileRows); }
constexpr int64_t query_tile_floats(int64_t heads, int64_t dim) { return padded_heads(heads) * dim / 4; }
constexpr int64_t key_tile_floats(int64_t dim) { return kIndexKeys * dim / 4; }

// What stands behind the tiles of a query, for each head.
struct HeadFactors {
  HeadFactors(float* query, int64_t heads, int64_t dim)
      : large(query + query_tile_floats(heads, dim)),
        minus(large + padded_heads(heads)),
        start(reinterpret_cast<int32_t*>(minus + padded_heads(heads))) {}

  float *large, *minus;  // that sums are multiplied by: see add_head
  int32_t* start;        // of sums with keys that are kUnsigned too large
};

// Of keys of one length, with or without rounding.
struct ByteFns {
  bool (*pack_query)(const Integers* q, const float* weights, int64_t heads, int64_t dim, bool rounds, float* to);
  bool (*pack_keys)(const uint8_t* rows, float* to);  // false: they do not fit
  bool (*pack_unsigned_keys)(const uint8_t* rows, float* to);
  void (*add_sums)(const int32_t* sums, const HeadFactors& factors, int64_t heads, const float* units, float* scores);
  void (*multiply)(const float* query, const HeadFactors& factors, int64_t heads, const float* keys, const float* units,
                   float* scores);
};

}  // namespace v4rt::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// The least scale of a head's blocks that are not zero, times the factor of weights-inl.h.
float head_unit(const Integers* q, int64_t blocks) {
  float unit = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    int32_t any = 0;
    for (const int8_t x : q[b].limb[0]) any |= x;
    if (any != 0 && (unit == 0 || q[b].scale < unit)) unit = q[b].scale;
  }
  return unit == 0 ? 1.0f : unit * Fp4Weights::kFactor;
}

bool is_near(float x) { return x >= 1 / kFarUnit && x <= kFarUnit; }

// Tile t of heads 16 i .. 16 i + 15 at (i * dim / 64 + t) tiles; then HeadFactors.
bool pack_query_tiles(const Integers* q, const float* weights, int64_t heads, int64_t dim, bool rounds, float* to) {
  const int64_t blocks = dim / 32;
  auto* bytes = reinterpret_cast<int8_t*>(to);
  const HeadFactors factors(to, heads, dim);
  std::fill_n(to, IndexTiles::query_floats(heads, dim), 0.0f);
  for (int64_t h = 0; h < heads; ++h, q += blocks) {
    const float unit = head_unit(q, blocks);
    if (!is_near(unit) || (weights[h] != 0 && !is_near(em_abs(weights[h])))) return false;
    const float weight = weights[h] * unit;
    factors.large[h] = rounds ? weight * (kBf16Step + 1) : weight;
    factors.minus[h] = -weight * kBf16Step;
    for (int64_t b = 0; b < blocks; ++b) {
      const float factor = q[b].scale * Fp4Weights::kFactor / unit;
      const int64_t tile = h / kTileRows * (dim / kTileDims) + b / 2;
      int8_t* row = bytes + tile * kTileBytes + h % kTileRows * 64 + b % 2 * 32;
      for (int i = 0; i < 32; ++i) {
        const float number = static_cast<float>(q[b].limb[0][i]) * factor;
        if (em_abs(number) > 127) return false;
        row[i] = static_cast<int8_t>(number);
        factors.start[h] -= kUnsigned * row[i];
      }
    }
  }
  return true;
}

// Four words of each of sixteen rows, one word of all rows in a vector.
HWY_INLINE void turn_four(const uint8_t* rows, int64_t width, __m512i (&word)[4]) {
  __m512i part[4];  // rows r, 4 + r, 8 + r, 12 + r
  for (int r = 0; r < 4; ++r) {
    const auto piece = [&](int i) HWY_ATTR {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (r + 4 * i) * width));
    };
    part[r] = _mm512_castsi128_si512(piece(0));
    part[r] = _mm512_inserti32x4(part[r], piece(1), 1);
    part[r] = _mm512_inserti32x4(part[r], piece(2), 2);
    part[r] = _mm512_inserti32x4(part[r], piece(3), 3);
  }
  const __m512i a = _mm512_unpacklo_epi32(part[0], part[1]), b = _mm512_unpackhi_epi32(part[0], part[1]);
  const __m512i c = _mm512_unpacklo_epi32(part[2], part[3]), d = _mm512_unpackhi_epi32(part[2], part[3]);
  word[0] = _mm512_unpacklo_epi64(a, c);
  word[1] = _mm512_unpackhi_epi64(a, c);
  word[2] = _mm512_unpacklo_epi64(b, d);
  word[3] = _mm512_unpackhi_epi64(b, d);
}

// Integers of codes in the low half of each byte, shifted by what `shift` holds in bits 4 and 5, and kMore larger.
template <int kMore>
HWY_INLINE __m512i shifted_bytes(__m512i codes, __m512i shift) {
  const __m128i halves = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
  __m512i table = _mm512_castsi128_si512(halves);
  const auto doubled = [](__m128i v) HWY_ATTR { return _mm_add_epi8(v, v); };
  const __m128i by_1 = doubled(halves), by_2 = doubled(by_1), by_3 = doubled(by_2);
  table = _mm512_inserti32x4(table, by_1, 1);
  table = _mm512_inserti32x4(table, by_2, 2);
  table = _mm512_add_epi8(_mm512_inserti32x4(table, by_3, 3), _mm512_set1_epi8(kMore));
  return look_up(_mm512_ternarylogic_epi32(codes, _mm512_set1_epi8(0x0f), shift, 0xea), table);  // codes & f | shift
}

// The scales of sixteen rows: the least one's value for each row, and how far the others are above it, as
// shifted_bytes takes that.
HWY_INLINE bool turn_scales(const uint8_t* scales, int64_t width, int64_t blocks, float* units, __m512i& shifts) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i bytes =
      _mm512_i32gather_epi32(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(static_cast<int>(width))), scales, 1);
  if (blocks == 2) bytes = _mm512_mask_blend_epi16(0xaaaaaaaau, bytes, _mm512_slli_epi32(bytes, 16));
  __m512i least = _mm512_min_epu8(bytes, _mm512_rol_epi32(bytes, 8));
  least = _mm512_min_epu8(least, _mm512_rol_epi32(least, 16));
  const __m512i above = _mm512_sub_epi8(bytes, least);
  constexpr char kLeast = 127 - 30, kRange = 60;
  static_assert(kFarUnit == 0x1p30f);
  const __mmask64 unfit =
      _mm512_cmpgt_epu8_mask(above, _mm512_set1_epi8(kMostShift)) |
      _mm512_cmpgt_epu8_mask(_mm512_sub_epi8(least, _mm512_set1_epi8(kLeast)), _mm512_set1_epi8(kRange));
  shifts = _mm512_slli_epi32(above, 4);
  _mm512_storeu_si512(units, _mm512_and_si512(_mm512_slli_epi32(least, 23), _mm512_set1_epi32(0x7f800000)));
  return unfit == 0;
}

// kIndexKeys rows. Tile t of keys 16 i .. 16 i + 15 at (i * dim / 64 + t) tiles: within eight numbers the even ones
// come first, as in Integers. Then what one is worth, for each key.
template <int64_t kDim, int kMore>
bool pack_key_tiles(const uint8_t* rows, float* to) {
  constexpr int64_t kBlocks = kDim / 32, kScales = kDim / 2, kWidth = kScales + 4;
  const __m512i fours = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
  auto* row = reinterpret_cast<uint32_t*>(to);
  float* units = to + key_tile_floats(kDim);
  for (int64_t first = 0; first < kIndexKeys; first += 16, rows += 16 * kWidth) {
    __m512i shifts;
    if (!turn_scales(rows + kScales, kWidth, kBlocks, units + first, shifts)) return false;
    for (int64_t b = 0; b < kBlocks; ++b) {
      const __m512i shift = _mm512_shuffle_epi8(shifts, _mm512_add_epi8(fours, _mm512_set1_epi8(static_cast<char>(b))));
      __m512i words[4];
      turn_four(rows + 16 * b, kWidth, words);
      for (const __m512i word : words) {
        _mm512_storeu_si512(row, shifted_bytes<kMore>(word, shift));
        _mm512_storeu_si512(row + 16, shifted_bytes<kMore>(_mm512_srli_epi32(word, 4), shift));
        row += 32;
      }
    }
  }
  return true;
}

// em_bf16 of numbers of at most 23 bits whose unit and largest are far from the ends of the range: x 2^16 + x is
// rounded at the last bit that bf16 has of x, and what is nearest does not change by a number whose own last bit of a
// float is even.
HWY_INLINE F16 round_whole(const F16& x) {
  const F16 sum = fma(x, splat(kBf16Step), x);
  return fma(x, splat(-kBf16Step), sum);
}

// Adds to the scores of sixteen keys what head h gives, from its integer sums. The product with a weight is rounded as
// in round_whole: it has sixteen bits, and the weight times 2^16 + 1 has no more than a float.
template <bool kRounds>
HWY_INLINE F16 add_head(const F16& scores, __m512i sums, const HeadFactors& factors, int64_t h) {
  const F16 positive(VF{_mm512_cvtepi32_ps(_mm512_max_epi32(sums, _mm512_setzero_si512()))});
  if constexpr (!kRounds) return fma(splat(factors.large[h]), positive, scores);
  const F16 dot = round_whole(positive);
  return scores + fma(dot, splat(factors.minus[h]), dot * splat(factors.large[h]));
}

// A unit is a power of two.
template <bool kRounds>
HWY_INLINE void store_scores(const F16& scores, const float* units, float* to) {
  store16((kRounds ? round_bf16(scores) : scores) * load16(units), to);
}

// The scores of kIndexKeys keys from integer sums [heads][keys].
template <bool kRounds>
void add_head_sums(const int32_t* sums, const HeadFactors& factors, int64_t heads, const float* units, float* scores) {
  static_assert(kIndexKeys == 32);
  F16 first = zero(), second = zero();
  for (int64_t h = 0; h < heads; ++h, sums += kIndexKeys) {
    first = add_head<kRounds>(first, _mm512_loadu_si512(sums), factors, h);
    second = add_head<kRounds>(second, _mm512_loadu_si512(sums + 16), factors, h);
  }
  store_scores<kRounds>(first, units, scores);
  store_scores<kRounds>(second, units + 16, scores + 16);
}

// The same from the tiles of a query and of keys, kSteps tiles in k, without a matrix unit: sums of some heads at a
// time stay in registers. The instruction takes the bytes of keys as unsigned ones; they are kUnsigned too large.
template <int kSteps, bool kRounds>
void multiply_by_vectors(const float* query, const HeadFactors& factors, int64_t heads, const float* keys,
                         const float* units, float* scores) {
  constexpr int kHeads = 8;
  static_assert(kTileRows % kHeads == 0 && kIndexKeys == 32);
  F16 first = zero(), second = zero();
  for (int64_t h = 0; h < heads; h += kHeads) {
    const float *x = query + (h / kTileRows * kSteps * kTileRows + h % kTileRows) * 16, *key = keys;
    __m512i sums[kHeads][2];
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) sums[i][0] = sums[i][1] = _mm512_set1_epi32(factors.start[h + i]);
    for (int step = 0; step < kSteps; ++step, x += kTileWords) {
#pragma GCC unroll 4
      for (int k = 0; k < 16; ++k, key += 16) {
        const __m512i bytes = _mm512_loadu_si512(key), more = _mm512_loadu_si512(key + kSteps * kTileWords);
#pragma GCC unroll 8
        for (int i = 0; i < kHeads; ++i) {
          const __m512i four = _mm512_castps_si512(_mm512_set1_ps(x[i * 16 + k]));
          add_products(sums[i][0], bytes, four);
          add_products(sums[i][1], more, four);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) {
      first = add_head<kRounds>(first, sums[i][0], factors, h + i);
      second = add_head<kRounds>(second, sums[i][1], factors, h + i);
    }
  }
  store_scores<kRounds>(first, units, scores);
  store_scores<kRounds>(second, units + 16, scores + 16);
}

template <int64_t kDim, bool kRounds>
const ByteFns* fns_of() {
  static constexpr ByteFns kFns{pack_query_tiles, pack_key_tiles<kDim, 0>, pack_key_tiles<kDim, kUnsigned>,
                                add_head_sums<kRounds>, multiply_by_vectors<kDim / kTileDims, kRounds>};
  return &kFns;
}

const ByteFns* byte_fns_for(int64_t dim, bool rounds) {
  if (dim == 128) return rounds ? fns_of<128, true>() : fns_of<128, false>();
  if (dim == 64) return rounds ? fns_of<64, true>() : fns_of<64, false>();
  return nullptr;
}

#else

const ByteFns* byte_fns_for(int64_t, bool) { return nullptr; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {
namespace {

HWY_EXPORT(byte_fns_for);

// sums [16 n][kIndexKeys] of n tiles of heads, of kSteps tiles in k: those of a group of keys stay in the unit.
template <int kSteps, class Tiles>
void multiply(Tiles& tiles, const float* heads, const float* keys, int64_t n, int32_t* sums) {
  constexpr int kHeads = 2, kKeys = 4;
  constexpr int64_t kStride = 4 * kIndexKeys;
  tiles.template load<kKeys>(keys, 64);
  tiles.template load<kKeys + 1>(keys + kSteps * kTileWords, 64);
  if constexpr (kSteps == 2) {
    tiles.template load<kKeys + 2>(keys + kTileWords, 64);
    tiles.template load<kKeys + 3>(keys + 3 * kTileWords, 64);
  }
  for (int64_t i = 0; i < n; ++i, heads += kSteps * kTileWords, sums += kTileRows * kIndexKeys) {
    tiles.template zero<0>();
    tiles.template zero<1>();
    tiles.template load<kHeads>(heads, 64);
    tiles.template add_int8<0, kHeads, kKeys>();
    tiles.template add_int8<1, kHeads, kKeys + 1>();
    if constexpr (kSteps == 2) {
      tiles.template load<kHeads + 1>(heads + kTileWords, 64);
      tiles.template add_int8<0, kHeads + 1, kKeys + 2>();
      tiles.template add_int8<1, kHeads + 1, kKeys + 3>();
    }
    tiles.template store<0>(sums, kStride);
    tiles.template store<1>(sums + 16, kStride);
  }
}

// A group of keys with one query, on the unit: products first, which it finishes while vectors do something else.
template <class Tiles>
class UnitProducts {
 public:
  UnitProducts(const ByteFns& fns, int64_t dim, int64_t heads, int32_t* sums)
      : pack(fns.pack_keys), fns_(fns), dim_(dim), heads_(heads), sums_(sums) {}
  bool (*const pack)(const uint8_t* rows, float* to);

  void multiply(const float* query, const float* keys) {
    const auto call = dim_ == 128 ? simd::multiply<2, Tiles> : simd::multiply<1, Tiles>;
    call(tiles_, query, keys, heads_ / kTileRows, sums_);
  }
  void add(const float*, const HeadFactors& factors, const float* keys, float* scores) const {
    fns_.add_sums(sums_, factors, heads_, keys + key_tile_floats(dim_), scores);
  }

 private:
  const ByteFns& fns_;
  const int64_t dim_, heads_;
  int32_t* const sums_;
  Tiles tiles_;
};

// By vectors, which do everything at once.
class VectorProducts {
 public:
  VectorProducts(const ByteFns& fns, int64_t dim, int64_t heads, int32_t*)
      : pack(fns.pack_unsigned_keys), fns_(fns), dim_(dim), heads_(heads) {}
  bool (*const pack)(const uint8_t* rows, float* to);

  void multiply(const float*, const float*) {}
  void add(const float* query, const HeadFactors& factors, const float* keys, float* scores) const {
    fns_.multiply(query, factors, heads_, keys, keys + key_tile_floats(dim_), scores);
  }

 private:
  const ByteFns& fns_;
  const int64_t dim_, heads_;
};

// A group of keys goes through the unit, then the next one is turned into tiles, which takes vectors and lets the unit
// finish, then the sums of the first are added up: nothing waits for what was just written.
template <class Products>
class Scorer {
 public:
  Scorer(const RowFormat& format, const IndexTileCall& call)
      : format_(format),
        call_(call),
        group_floats_(group_floats(format.dim)),
        keys_(call.memory + padded_heads(call.heads) * kIndexKeys),
        whole_(reinterpret_cast<uint8_t*>(keys_ + 2 * group_floats_)),
        products_(*HWY_DYNAMIC_DISPATCH(byte_fns_for)(format.dim, call.rounds), format.dim, padded_heads(call.heads),
                  reinterpret_cast<int32_t*>(call.memory)) {}

  int64_t run(int64_t begin, int64_t end) {
    bool packed = begin < end && pack(begin);
    int64_t group = begin;
    for (; packed; ++group) {
      for (int q = 0; q < call_.queries; ++q) {
        products_.multiply(call_.query[q], keys(group));
        if (q == 0) packed = group + 1 < end && pack(group + 1);
        products_.add(call_.query[q], HeadFactors(call_.query[q], call_.heads, format_.dim), keys(group),
                      call_.scores[q] + group * kIndexKeys);
      }
    }
    return group;
  }

  static int64_t group_floats(int64_t dim) { return key_tile_floats(dim) + kIndexKeys; }
  static int64_t work_floats(int64_t heads, const RowFormat& format) {
    return padded_heads(heads) * kIndexKeys + 2 * group_floats(format.dim) + kIndexKeys * format.bytes() / 4;
  }

 private:
  static constexpr int64_t kNear = 2048, kFar = 8192;  // bytes: see fetch() in weights-inl.h

  float* keys(int64_t group) const { return keys_ + group % 2 * group_floats_; }

  bool pack(int64_t group) const { return products_.pack(rows(group), keys(group)); }
  const uint8_t* rows(int64_t group) const {
    const int64_t width = format_.bytes(), live = std::min(kIndexKeys, call_.keys - group * kIndexKeys);
    const uint8_t* from = call_.rows + group * kIndexKeys * width;
    if (live == kIndexKeys) {
      for (int64_t at = 0; at < kIndexKeys * width; at += 64) {
        __builtin_prefetch(from + kNear + at, 0, 3);
        __builtin_prefetch(from + kFar + at, 0, 2);
      }
      return from;
    }
    for (int64_t i = 0; i < kIndexKeys; ++i) std::copy_n(from + (i < live ? i : 0) * width, width, whole_ + i * width);
    return whole_;
  }

  const RowFormat& format_;
  const IndexTileCall& call_;
  const int64_t group_floats_;
  float* keys_;
  uint8_t* whole_;  // an incomplete group
  Products products_;
};

template <class Products>
int64_t scores_by(const RowFormat& format, const IndexTileCall& call, int64_t begin, int64_t end) {
  return Scorer<Products>(format, call).run(begin, end);
}

template <class Products>
const IndexTiles* tiles_of(const ByteFns& fns) {
  static const IndexTiles kTiles{fns.pack_query, scores_by<Products>};
  return &kTiles;
}

}  // namespace

int64_t IndexTiles::query_floats(int64_t heads, int64_t dim) {
  return query_tile_floats(heads, dim) + 3 * padded_heads(heads);
}

int64_t IndexTiles::work_floats(int64_t heads, const RowFormat& format) {
  return Scorer<VectorProducts>::work_floats(heads, format);
}

const IndexTiles* index_tiles(const RowFormat& format, MatrixUnit unit) {
  const ByteFns* fns = index_integers_work(format) ? HWY_DYNAMIC_DISPATCH(byte_fns_for)(format.dim, false) : nullptr;
  if (fns == nullptr) return nullptr;
  if (unit == MatrixUnit::kNone) return tiles_of<VectorProducts>(*fns);
  return with_tiles(unit, [&]<class Tiles>() { return tiles_of<UnitProducts<Tiles>>(*fns); });
}

}  // namespace v4rt::simd
#endif
