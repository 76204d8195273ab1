#include "backend/cpu/simd/tile_attend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/tile_attend.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <array>

#include "backend/cpu/simd/bf16_tiles-inl.h"
#include "backend/cpu/simd/integers-inl.h"
#include "backend/cpu/simd/quant.h"
#include "backend/cpu/simd/tile-inl.h"
#include "backend/cpu/simd/tiles.h"
#include "ops/core/arith.h"

#ifndef V4RT_BACKEND_CPU_SIMD_TILE_ATTEND_ONCE
#define V4RT_BACKEND_CPU_SIMD_TILE_ATTEND_ONCE
namespace v4rt::simd {

constexpr int64_t kRowTiles = kAttendBlock / kTileRows;  // of a block
constexpr int64_t kHalves = kAttendBlock / kDotBlock;

// Of rows, and of what they are multiplied with: as in safe_range.h, but rows hold nothing small, while weights do.
constexpr uint16_t kLeastOfRow = (127 - 32) << 7, kLeastFactor = (127 - 78) << 7;
// Sums of values no smaller than this are multiples of 2^-126, as is what is added to them.
constexpr float kLeastSum = 0x1p-102f;

constexpr int64_t tile_words(int64_t rows, int64_t dim) { return rows * dim / 2; }

}  // namespace v4rt::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

// Per unit of heads and block of 32 one tile, the head last. False when a number is not safe.
bool pack_query(const uint16_t* q, int64_t heads, int64_t dim, uint32_t* to) {
  if (any_unsafe(q, heads * dim, kLeastFactor) != 0) return false;
  for (int64_t first = 0; first < heads; first += kAttendUnit)
    for (int64_t at = 0; at < dim; at += kDotBlock, to += kTileWords) {
      HWY_ALIGN uint32_t rows[kTileWords] = {};
      for (int64_t h = first; h < std::min(heads, first + kAttendUnit); ++h)
        pack_block(q + h * dim + at, rows + (h - first) * 16);
      transpose(rows, 16, 16, 16, to, 16);
    }
  return true;
}

// A row of n numbers as one row of a tile per block of 32.
HWY_INLINE bool pack_bf16(const uint8_t* from, int64_t n, uint32_t* to) {
  const auto* x = reinterpret_cast<const uint16_t*>(from);
  for (int64_t at = 0; at < n; at += kDotBlock, to += kTileWords) pack_block(x + at, to);
  return any_unsafe(x, n, kLeastOfRow) == 0;
}

#if HWY_TARGET == HWY_AVX3

// Codes in the upper bytes as bf16, whose exponents get `exponent` more, in place.
template <bool kRare>
HWY_INLINE __m512i widen_codes(__m512i v, __m512i exponent) {
  const __m512i normal = _mm512_and_si512(_mm512_srai_epi16(v, 4), _mm512_set1_epi16(static_cast<int16_t>(0x87f0)));
  const __m512i wide = _mm512_add_epi16(normal, _mm512_add_epi16(exponent, _mm512_set1_epi16(120 << 7)));
  if constexpr (!kRare) return wide;
  const __m512i table = _mm512_broadcast_i32x4(
      _mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));  // multiples of 2^-9
  const __m512i sign = _mm512_and_si512(v, _mm512_set1_epi16(static_cast<int16_t>(0x8000)));
  const __m512i small =
      _mm512_permutexvar_epi16(_mm512_and_si512(_mm512_srli_epi16(v, 8), _mm512_set1_epi16(7)), table);
  const __m512i scaled =
      _mm512_mask_add_epi16(small, _mm512_test_epi16_mask(v, _mm512_set1_epi16(0x0700)), small, exponent);
  const __mmask32 rare = _mm512_testn_epi16_mask(v, _mm512_set1_epi16(0x7800));
  return _mm512_mask_blend_epi16(rare, wide, _mm512_or_si512(scaled, sign));
}

// 64 codes with one scale are two blocks.
HWY_INLINE bool pack_codes(const uint8_t* codes, uint8_t scale, uint32_t* to) {
  alignas(64) static constexpr auto kOrder = [] {
    std::array<uint8_t, 64> order{};
    for (uint8_t i = 0; i < 64; ++i) order[i] = static_cast<uint8_t>(i / 4 + 16 * (i / 2 % 2) + 32 * (i % 2));
    return order;
  }();
  const __m512i v = _mm512_loadu_si512(codes), both = look_up(_mm512_load_si512(kOrder.data()), v);
  const __m512i exponent = _mm512_set1_epi16(static_cast<int16_t>((scale - 127) * 128));
  const __m512i first = _mm512_slli_epi16(both, 8);
  if (HWY_LIKELY(_mm512_testn_epi8_mask(v, _mm512_set1_epi8(0x78)) == 0)) {
    _mm512_storeu_si512(to, widen_codes<false>(first, exponent));
    _mm512_storeu_si512(to + kTileWords, widen_codes<false>(both, exponent));
  } else {
    _mm512_storeu_si512(to, widen_codes<true>(first, exponent));
    _mm512_storeu_si512(to + kTileWords, widen_codes<true>(both, exponent));
  }
  constexpr int kLeast = (kLeastOfRow >> 7) + 9, kMost = (kMostSafe >> 7) - 9;  // codes: 2^-9 to 448
  return scale >= kLeast && scale <= kMost;
}

HWY_INLINE bool pack_row(const RowFormat& format, const uint8_t* row, float*, uint32_t* to) {
  if (format.kind == RowFormat::Kind::kBF16) return pack_bf16(row, format.dim, to);
  bool safe = true;
  const uint8_t* scale = row + format.scale_offset();
  for (int64_t at = 0; at < format.codes(); at += 64, to += 2 * kTileWords) safe &= pack_codes(row + at, *scale++, to);
  return pack_bf16(row + format.tail_offset(), format.tail, to) && safe;
}

#else

HWY_INLINE bool pack_row(const RowFormat& format, const uint8_t* row, float* values, uint32_t* to) {
  if (format.kind == RowFormat::Kind::kBF16) return pack_bf16(row, format.dim, to);
  decode_row(format)(format, row, values);
  uint32_t bad = 0;
  for (int64_t at = 0; at < format.dim; at += kDotBlock, to += kTileWords) {
    store_beside(load16(values + at), load16(values + at + kDotChain), to);
    bad |= any_unsafe(reinterpret_cast<const uint16_t*>(to), kDotBlock, kLeastOfRow);
  }
  return bad == 0;
}

#endif

// By slot: tile (slot / 16) * dim / 32 + b has block b of sixteen rows; what is masked is zero.
bool pack_rows(const RowFormat& format, const AttendTile& tile, float* values, uint32_t* to) {
  const int64_t tiles = format.dim / kDotBlock;
  if (tile.n < kAttendBlock) std::fill_n(to, tile_words(kAttendBlock, format.dim), 0u);
  bool safe = true;
  for (int i = 0; i < tile.n; ++i) {
    const int64_t slot = tile.slots[i];
    safe &= pack_row(format, tile.packed[i], values, to + slot / 16 * tiles * kTileWords + slot % 16 * 16);
  }
  return safe;
}

// The same with slot i beside slot 16 + i: tile half * dim / 16 + d / 16 has, for d .. d + 15, 32 slots.
void pair_rows(const uint32_t* from, int64_t dim, uint32_t* to) {
  const int64_t tiles = dim / kDotBlock;
  const VU upper = hn::Set(DU(), 0xffff0000u);
  for (int64_t half = 0; half < kHalves; ++half, from += 2 * tiles * kTileWords)
    for (int64_t at = 0; at < tiles * kTileWords; at += kTileWords, to += 2 * kTileWords)
      for (int64_t i = 0; i < kTileWords; i += kLanes) {
        const VU first = hn::LoadU(DU(), from + at + i), second = hn::LoadU(DU(), from + tiles * kTileWords + at + i);
        hn::StoreU(hn::OrAnd(hn::ShiftLeft<16>(second), first, hn::Not(upper)), DU(), to + i);
        hn::StoreU(hn::OrAnd(hn::ShiftRight<16>(first), second, upper), DU(), to + kTileWords + i);
      }
}

// Weights [slot][head] as tiles of heads: slot i of 32 beside slot 16 + i.
bool pack_weights(const float* e, uint32_t* to) {
  HWY_ALIGN uint32_t rows[kTileWords];
  uint32_t bad = 0;
  for (int64_t half = 0; half < kHalves; ++half, e += kDotBlock * kAttendUnit, to += kTileWords) {
    for (int64_t i = 0; i < kDotChain; ++i)
      store_beside(load16(e + i * kAttendUnit), load16(e + (kDotChain + i) * kAttendUnit), rows + i * 16);
    bad |= any_unsafe(reinterpret_cast<const uint16_t*>(rows), 2 * kTileWords, kLeastFactor);
    transpose(rows, 16, 16, 16, to, 16);
  }
  return bad == 0;
}

// acc[h] *= rescale[h], which becomes 1. False when a sum has become too small for the unit.
bool rescale_sums(float* acc, int64_t stride, int64_t n, float* rescale) {
  VU least = hn::Set(DU(), ~0u);
  for (int h = 0; h < kAttendUnit; ++h, acc += stride) {
    if (rescale[h] == 1) continue;
    const VF factor = hn::Set(DF(), rescale[h]);
    for (int64_t d = 0; d < n; d += kLanes) {
      const VF sum = hn::Mul(hn::LoadU(DF(), acc + d), factor);
      hn::StoreU(sum, DF(), acc + d);
      const VU magnitude = hn::And(hn::BitCast(DU(), sum), hn::Set(DU(), 0x7fffffffu));
      least = hn::Min(least, hn::Sub(magnitude, hn::Set(DU(), 1u)));  // zero does not count
    }
    rescale[h] = 1;
  }
  return hn::AllTrue(DU(), hn::Eq(hn::Max(least, hn::Set(DU(), em_bits(kLeastSum) - 1)), least));
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {
namespace {

HWY_EXPORT(pack_query);
HWY_EXPORT(pack_rows);
HWY_EXPORT(pair_rows);
HWY_EXPORT(pack_weights);
HWY_EXPORT(rescale_sums);

template <class Tiles>
class Adder {
 public:
  Adder(const AttendSpec& spec, const AttendView& view, const AttendFns& vectors, AttendState& state, float* memory)
      : spec_(spec), view_(view), vectors_(vectors), state_(state) {
    rows_ = reinterpret_cast<uint32_t*>(memory);
    pairs_ = rows_ + tile_words(kAttendBlock, state.dim);
    weights_ = pairs_ + tile_words(kAttendBlock, state.dim);
    query_ = weights_ + kHalves * kTileWords;
  }

  static int64_t floats(int64_t heads, int64_t dim) {
    return 2 * tile_words(kAttendBlock, dim) + kHalves * kTileWords + tile_words(round_up(heads, kAttendUnit), dim);
  }

  bool run(const void* q) {
    static const auto pack = HWY_DYNAMIC_DISPATCH(pack_query);
    if (!pack(static_cast<const uint16_t*>(q), state_.heads, state_.dim, query_)) return false;
    AttendTile tile = attend_block(view_, 0);
    for (int64_t begin = 0; begin < view_.slots; begin += kAttendBlock) {
      next_ = attend_block(view_, begin + kAttendBlock);
      fetched_ = 0;
      if (tile.n > 0) add_block(tile);
      tile = next_;
    }
    return true;
  }

 private:
  void add_block(const AttendTile& tile) {
    static const auto pack = HWY_DYNAMIC_DISPATCH(pack_rows);
    static const auto pair = HWY_DYNAMIC_DISPATCH(pair_rows);
    decoded_ = false;
    if (pack(spec_.format, tile, state_.rows, rows_)) {
      pair(rows_, state_.dim, pairs_);
    } else {
      aside_ = ~uint64_t{0};
    }
    for (int64_t unit = 0; unit < state_.units(); ++unit) add_unit(tile, unit);
  }

  void add_unit(const AttendTile& tile, int64_t unit) {
    static const auto pack = HWY_DYNAMIC_DISPATCH(pack_weights);
    static const auto rescale_acc = HWY_DYNAMIC_DISPATCH(rescale_sums);
    const uint64_t bit = uint64_t{1} << unit;
    if ((aside_ & bit) != 0) {
      decode(tile);
      return vectors_.add_block(tile, unit, spec_.scale, spec_.rounds, state_);
    }
    float *e = state_.weights, *by_slot = e + kAttendBlock * kAttendUnit;
    float rescale[kAttendUnit];
    add_scores(unit, e);
    for (int i = 0; i < tile.n; ++i)
      if (tile.slots[i] != i) std::copy_n(e + tile.slots[i] * kAttendUnit, kAttendUnit, e + i * kAttendUnit);
    vectors_.weigh(tile, unit, spec_.scale, spec_.rounds, state_, rescale);
    if (tile.n < kAttendBlock) {
      std::fill_n(by_slot, kAttendBlock * kAttendUnit, 0.0f);
      for (int i = 0; i < tile.n; ++i)
        std::copy_n(e + i * kAttendUnit, kAttendUnit, by_slot + tile.slots[i] * kAttendUnit);
    }
    float* acc = state_.acc + unit * kAttendUnit * state_.stride();
    if (pack(tile.n < kAttendBlock ? by_slot : e, weights_) && rescale_acc(acc, state_.stride(), state_.dim, rescale))
      return add_values(acc);
    aside_ |= bit;  // and stays there: its sums may have become subnormal
    decode(tile);
    vectors_.add_values(tile, unit, rescale, state_);
  }

  void decode(const AttendTile& tile) {
    if (!decoded_) decode_rows(spec_.format, tile, state_);
    decoded_ = true;
  }

  // s [slot][head], scaled by nothing yet.
  void add_scores(int64_t unit, float* s) {
    const int64_t tiles = state_.dim / kDotBlock, far = tiles * kTileWords;
    const uint32_t *query = query_ + unit * far, *rows = rows_;
    tiles_.template zero<0>();
    tiles_.template zero<1>();
    tiles_.template zero<2>();
    tiles_.template zero<3>();
    for (int64_t b = 0; b < tiles; ++b, query += kTileWords, rows += kTileWords) {
      tiles_.template load<4>(query, 64);
      tiles_.template load<5>(rows, 64);
      tiles_.template add_bf16<0, 5, 4>();
      tiles_.template load<6>(rows + far, 64);
      tiles_.template add_bf16<1, 6, 4>();
      tiles_.template load<7>(rows + 2 * far, 64);
      tiles_.template add_bf16<2, 7, 4>();
      tiles_.template load<5>(rows + 3 * far, 64);
      tiles_.template add_bf16<3, 5, 4>();
      fetch();
    }
    tiles_.template store<0>(s, 64);
    tiles_.template store<1>(s + kTileWords, 64);
    tiles_.template store<2>(s + 2 * kTileWords, 64);
    tiles_.template store<3>(s + 3 * kTileWords, 64);
  }

  // Two tiles of sums at a time, as each waits for two products.
  void add_values(float* acc) {
    const int64_t stride = 4 * state_.stride(), far = state_.dim / 16 * kTileWords;
    const uint32_t* pairs = pairs_;
    tiles_.template load<6>(weights_, 64);
    tiles_.template load<7>(weights_ + kTileWords, 64);
    for (int64_t d = 0; d < state_.dim; d += 32, pairs += 2 * kTileWords) {
      tiles_.template load<0>(acc + d, stride);
      tiles_.template load<2>(pairs, 64);
      tiles_.template add_bf16<0, 6, 2>();
      tiles_.template load<1>(acc + d + 16, stride);
      tiles_.template load<3>(pairs + kTileWords, 64);
      tiles_.template add_bf16<1, 6, 3>();
      tiles_.template load<4>(pairs + far, 64);
      tiles_.template add_bf16<0, 7, 4>();
      tiles_.template load<5>(pairs + far + kTileWords, 64);
      tiles_.template add_bf16<1, 7, 5>();
      tiles_.template store<0>(acc + d, stride);
      tiles_.template store<1>(acc + d + 16, stride);
      fetch();
    }
  }

  // Asks for a row of the next block: they lie anywhere, and all at once would be waited for.
  void fetch() {
    if (fetched_ == next_.n) return;
    const uint8_t* row = next_.packed[fetched_++];
    for (int64_t at = 0; at < view_.width; at += 64) __builtin_prefetch(row + at, 0, 2);
  }

  const AttendSpec& spec_;
  const AttendView& view_;
  const AttendFns& vectors_;
  AttendState& state_;
  uint32_t *rows_, *pairs_, *weights_, *query_;
  AttendTile next_;
  int fetched_ = 0;
  bool decoded_ = false;
  uint64_t aside_ = 0;  // a bit for each unit whose sums are formed by vectors
  Tiles tiles_;
};

template <class Tiles>
bool add_all(const AttendSpec& spec, const AttendView& view, const void* q, const AttendFns& vectors,
             AttendState& state, float* memory) {
  return Adder<Tiles>(spec, view, vectors, state, memory).run(q);
}

template <class Tiles>
const AttendTiles* fns() {
  static constexpr AttendTiles kFns{add_all<Tiles>};
  return &kFns;
}

bool fits(const RowFormat& format) {
  if (format.kind == RowFormat::Kind::kBF16) return format.dim % kDotBlock == 0;
  return format.kind == RowFormat::Kind::kFp8Tail && format.codes() % format.scale_block() == 0 &&
         format.tail % kDotBlock == 0;
}

}  // namespace

int64_t AttendTiles::floats(int64_t heads, int64_t dim) { return Adder<EmulatedTiles>::floats(heads, dim); }

const AttendTiles* attend_tiles(const AttendSpec& spec, DType activation, MatrixUnit unit) {
  if (unit == MatrixUnit::kNone || activation != DType::kBF16 || !spec.rounds || !fits(spec.format)) return nullptr;
#if defined(__x86_64__)
  if (unit == MatrixUnit::kAmx) return fns<AmxTiles>();
#endif
  return fns<EmulatedTiles>();
}

}  // namespace v4rt::simd
#endif
