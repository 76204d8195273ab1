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

// Blocks whose weights are found before their values are added: sums are read and written in the second cache once for
// all of them, by kColumns columns, which stay in the first.
constexpr int64_t kAbreast = 2, kColumns = 64;
constexpr int64_t kUnitWords = kHalves * kTileWords;  // weights of a block and unit

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

// n columns of the same with slot i beside slot 16 + i: tile half * n / 16 + d / 16 has, for d .. d + 15, 32 slots.
void pair_rows(const uint32_t* from, int64_t dim, int64_t n, uint32_t* to) {
  const int64_t far = dim / kDotBlock * kTileWords;
  const VU upper = hn::Set(DU(), 0xffff0000u);
  for (int64_t half = 0; half < kHalves; ++half, from += 2 * far)
    for (int64_t at = 0; at < n / kDotBlock * kTileWords; at += kTileWords, to += 2 * kTileWords)
      for (int64_t i = 0; i < kTileWords; i += kLanes) {
        const VU first = hn::LoadU(DU(), from + at + i), second = hn::LoadU(DU(), from + far + at + i);
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

// acc[h] *= rescale[h], n columns. False when a sum has become too small for the unit.
bool rescale_sums(float* acc, int64_t stride, int64_t n, const float* rescale) {
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

// fn.operator()<units>(first unit): two units at a time share what is read of the rows.
template <class Fn>
void for_units(int64_t units, const Fn& fn) {
  int64_t unit = 0;
  for (; unit + 2 <= units; unit += 2) fn.template operator()<2>(unit);
  if (unit < units) fn.template operator()<1>(unit);
}

template <class Tiles>
class Adder {
 public:
  Adder(const AttendSpec& spec, const AttendView& view, const AttendFns& vectors, AttendState& state, float* memory)
      : spec_(spec),
        view_(view),
        vectors_(vectors),
        state_(state),
        query_(reinterpret_cast<uint32_t*>(memory)),
        weights_(query_ + tile_words(state.units() * kAttendUnit, state.dim)),
        pairs_(weights_ + kAbreast * state.units() * kUnitWords),
        scores_(reinterpret_cast<float*>(pairs_ + tile_words(kAttendBlock, kColumns))),
        rescale_(scores_ + 2 * kAttendBlock * kAttendUnit),
        rows_(reinterpret_cast<uint32_t*>(rescale_ + kAbreast * state.units() * kAttendUnit)) {}

  static int64_t floats(int64_t heads, int64_t dim) {
    const int64_t units = ceil_div(heads, kAttendUnit);
    return tile_words(units * kAttendUnit, dim) + kAbreast * units * (kUnitWords + kAttendUnit) +
           tile_words(kAttendBlock, kColumns) + 2 * kAttendBlock * kAttendUnit +
           kAbreast * tile_words(kAttendBlock, dim);
  }

  bool run(const void* q) {
    static const auto pack = HWY_DYNAMIC_DISPATCH(pack_query);
    if (!pack(static_cast<const uint16_t*>(q), state_.heads, state_.dim, query_)) return false;
    look_ahead(0);
    for (int64_t begin = 0; begin < view_.slots; begin += kAbreast * kAttendBlock) {
      look_ahead(begin + kAbreast * kAttendBlock);
      const int64_t ready = by_vectors_ ? 0 : weigh_blocks();
      add_values(ready);
      for (int64_t block = ready; block < kAbreast; ++block) add_by_vectors(block);
    }
    return true;
  }

 private:
  // The blocks from `begin` on, after those at work.
  void look_ahead(int64_t begin) {
    std::copy_n(tile_ + kAbreast, kAbreast, tile_);
    for (int64_t i = 0; i < kAbreast; ++i) tile_[kAbreast + i] = attend_block(view_, begin + i * kAttendBlock);
    fetched_ = std::max<int64_t>(0, fetched_ - kAbreast * kAttendBlock);
  }
  const uint32_t* rows(int64_t block) const { return rows_ + block * tile_words(kAttendBlock, state_.dim); }
  uint32_t* weights(int64_t block, int64_t unit) const {
    return weights_ + (block * state_.units() + unit) * kUnitWords;
  }
  float* rescale(int64_t block, int64_t unit) const { return rescale_ + (block * state_.units() + unit) * kAttendUnit; }

  // Weights and rescaling of the blocks; returns the first one whose numbers are not for the unit.
  int64_t weigh_blocks() {
    static const auto pack = HWY_DYNAMIC_DISPATCH(pack_rows);
    weighed_ = 0;
    for (int64_t block = 0; block < kAbreast; ++block) {
      if (tile_[block].n == 0) continue;
      by_vectors_ =
          !pack(spec_.format, tile_[block], state_.rows, rows_ + block * tile_words(kAttendBlock, state_.dim));
      if (by_vectors_) return block;
      for_units(state_.units(), [&]<int kUnits>(int64_t unit) {
        if (by_vectors_) return;
        add_scores<kUnits>(rows(block), unit);
        for (int64_t i = 0; i < kUnits; ++i) by_vectors_ |= !weigh(block, unit + i, i);
        weighed_ = unit + kUnits;
      });
      if (by_vectors_) return block;
      weighed_ = 0;
    }
    return kAbreast;
  }

  bool weigh(int64_t block, int64_t unit, int64_t of_scores) {
    static const auto pack = HWY_DYNAMIC_DISPATCH(pack_weights);
    const AttendTile& tile = tile_[block];
    const float* s = scores_ + of_scores * kAttendBlock * kAttendUnit;
    float *e = state_.weights, *by_slot = e + kAttendBlock * kAttendUnit;
    for (int i = 0; i < tile.n; ++i) std::copy_n(s + tile.slots[i] * kAttendUnit, kAttendUnit, e + i * kAttendUnit);
    vectors_.weigh(tile, unit, spec_.scale, spec_.rounds, state_, rescale(block, unit));
    if (tile.n == kAttendBlock) return pack(e, weights(block, unit));
    std::fill_n(by_slot, kAttendBlock * kAttendUnit, 0.0f);
    for (int i = 0; i < tile.n; ++i)
      std::copy_n(e + i * kAttendUnit, kAttendUnit, by_slot + tile.slots[i] * kAttendUnit);
    return pack(by_slot, weights(block, unit));
  }

  // scores_ [unit][slot][head], not yet scaled.
  template <int kUnits>
  void add_scores(const uint32_t* rows, int64_t unit) {
    constexpr int64_t kAtOnce = 4 / kUnits;  // tiles of rows, so that four sums hide each other's latency
    const int64_t far = state_.dim / kDotBlock * kTileWords;
    for (int64_t first = 0; first < kRowTiles; first += kAtOnce) {
      const uint32_t *q = query_ + unit * far, *row = rows + first * far;
      tiles_.template zero<0>();
      tiles_.template zero<1>();
      tiles_.template zero<2>();
      tiles_.template zero<3>();
      for (int64_t at = 0; at < far; at += kTileWords, q += kTileWords, row += kTileWords) {
        tiles_.template load<4>(q, 64);
        tiles_.template load<6>(row, 64);
        tiles_.template add_bf16<0, 6, 4>();
        tiles_.template load<7>(row + far, 64);
        tiles_.template add_bf16<1, 7, 4>();
        if constexpr (kUnits == 2) {
          tiles_.template load<5>(q + far, 64);
          tiles_.template add_bf16<2, 6, 5>();
          tiles_.template add_bf16<3, 7, 5>();
        } else {
          tiles_.template load<6>(row + 2 * far, 64);
          tiles_.template add_bf16<2, 6, 4>();
          tiles_.template load<7>(row + 3 * far, 64);
          tiles_.template add_bf16<3, 7, 4>();
        }
        fetch();
      }
      float *s = scores_ + first * kTileWords, *second = s + (kUnits == 2 ? kRowTiles : 2) * kTileWords;
      tiles_.template store<0>(s, 64);
      tiles_.template store<1>(s + kTileWords, 64);
      tiles_.template store<2>(second, 64);
      tiles_.template store<3>(second + kTileWords, 64);
    }
  }

  // Of blocks [0, ready), some columns at a time.
  void add_values(int64_t ready) {
    static const auto pair = HWY_DYNAMIC_DISPATCH(pair_rows);
    for (int64_t d = 0; d < state_.dim; d += kColumns) {
      const int64_t n = std::min(kColumns, state_.dim - d);
      uint64_t aside = 0;  // a bit for each unit whose sums are too small in these columns
      for (int64_t block = 0; block < ready; ++block) {
        if (tile_[block].n == 0) continue;
        pair(rows(block) + d / kDotBlock * kTileWords, state_.dim, n, pairs_);
        for (int64_t unit = 0; unit < state_.units(); ++unit) add_rescaled(block, unit, d, n, aside);
        for_units(state_.units(), [&]<int kUnits>(int64_t unit) { multiply<kUnits>(block, unit, d, n, aside); });
      }
      by_vectors_ |= aside != 0;
    }
  }

  // Rescales sums; where they have become too small for the unit, adds the values too, now and for the other blocks.
  void add_rescaled(int64_t block, int64_t unit, int64_t d, int64_t n, uint64_t& aside) {
    static const auto rescale_acc = HWY_DYNAMIC_DISPATCH(rescale_sums);
    const uint64_t bit = uint64_t{1} << unit;
    constexpr float kDone[kAttendUnit] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float* factors = rescale(block, unit);
    if ((aside & bit) == 0) {
      if (rescale_acc(state_.acc + unit * kAttendUnit * state_.stride() + d, state_.stride(), n, factors)) return;
      aside |= bit;
      factors = kDone;
    }
    decode_rows(spec_.format, tile_[block], state_);
    restore_weights(block, unit);
    vectors_.add_values(tile_[block], unit, factors, d, d + n, state_);
  }

  template <int kUnits>
  void multiply(int64_t block, int64_t unit, int64_t d, int64_t n, uint64_t aside) {
    const uint64_t mine = aside >> unit & ((1u << kUnits) - 1);
    if (mine != 0) {
      if (kUnits == 2 && mine != 3) multiply<1>(block, unit + (mine == 1 ? 1 : 0), d, n, 0);
      return;
    }
    const int64_t stride = 4 * state_.stride(), far = kAttendUnit * state_.stride(), half = n / 16 * kTileWords;
    const uint32_t *w = weights(block, unit), *pairs = pairs_;
    float* acc = state_.acc + unit * far + d;
    tiles_.template load<4>(w, 64);
    tiles_.template load<5>(w + kTileWords, 64);
    if constexpr (kUnits == 2) {
      tiles_.template load<6>(w + kUnitWords, 64);
      tiles_.template load<7>(w + kUnitWords + kTileWords, 64);
    }
    for (int64_t at = 0; at < n; at += 16, acc += 16, pairs += kTileWords) {
      tiles_.template load<0>(acc, stride);
      tiles_.template load<2>(pairs, 64);
      tiles_.template add_bf16<0, 4, 2>();
      if constexpr (kUnits == 2) {
        tiles_.template load<1>(acc + far, stride);
        tiles_.template add_bf16<1, 6, 2>();
      }
      tiles_.template load<3>(pairs + half, 64);
      tiles_.template add_bf16<0, 5, 3>();
      tiles_.template store<0>(acc, stride);
      if constexpr (kUnits == 2) {
        tiles_.template add_bf16<1, 7, 3>();
        tiles_.template store<1>(acc + far, stride);
      }
      fetch();
    }
  }

  // All that is left to do for a block; of its first units the weights may be known.
  void add_by_vectors(int64_t block) {
    const AttendTile& tile = tile_[block];
    if (tile.n == 0) return;
    decode_rows(spec_.format, tile, state_);
    for (int64_t unit = 0; unit < state_.units(); ++unit) {
      if (unit < weighed_) {
        restore_weights(block, unit);
        vectors_.add_values(tile, unit, rescale(block, unit), 0, state_.padded(), state_);
      } else {
        vectors_.add_block(tile, unit, spec_.scale, spec_.rounds, state_);
      }
    }
    weighed_ = 0;
  }

  // From tiles: every weight is one of bf16.
  void restore_weights(int64_t block, int64_t unit) {
    const AttendTile& tile = tile_[block];
    for (int i = 0; i < tile.n; ++i) {
      const int slot = tile.slots[i], place = slot % kDotBlock;
      const uint32_t* of_half = weights(block, unit) + slot / kDotBlock * kTileWords + place % kDotChain;
      for (int h = 0; h < kAttendUnit; ++h) {
        const uint32_t both = of_half[h * 16];
        state_.weights[i * kAttendUnit + h] = em_float(place < kDotChain ? both << 16 : both & 0xffff0000u);
      }
    }
  }

  // Asks for rows of the next blocks: they lie anywhere, and all at once would be waited for. One at a time keeps as
  // far ahead as it is; at first it is not.
  void fetch() {
    for (int64_t left = fetched_ < kAbreast * kAttendBlock ? 3 : 1; left > 0; --left) {
      if (fetched_ == 2 * kAbreast * kAttendBlock) return;
      const AttendTile& tile = tile_[fetched_ / kAttendBlock];
      const int64_t i = fetched_++ % kAttendBlock;
      if (i >= tile.n) continue;
      for (int64_t at = 0; at < view_.width; at += 64) __builtin_prefetch(tile.packed[i] + at, 0, 2);
    }
  }

  const AttendSpec& spec_;
  const AttendView& view_;
  const AttendFns& vectors_;
  AttendState& state_;
  uint32_t *query_, *weights_, *pairs_;
  float *scores_, *rescale_;
  uint32_t* rows_;
  AttendTile tile_[2 * kAbreast] = {};  // at work, and the next ones
  int64_t fetched_ = 0;                 // rows of them
  bool by_vectors_ = false;             // from now on: sums may have become subnormal
  int64_t weighed_ = 0;                 // units of the first block that goes by vectors
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
  return with_tiles(unit, []<class Tiles>() { return fns<Tiles>(); });
}

}  // namespace v4rt::simd
#endif
