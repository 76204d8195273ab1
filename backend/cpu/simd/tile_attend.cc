#include "backend/cpu/simd/tile_attend.h"

#include <algorithm>

#include "backend/cpu/simd/attend_pack.h"
#include "backend/cpu/simd/pair_attend.h"
#include "ops/core/arith.h"

namespace v4rt::simd {
namespace {

constexpr int64_t kRowTiles = kAttendBlock / kTileRows;  // of a block

// Blocks whose weights are found before their values are added: sums are read and written in the second cache once for
// all of them, by kColumns columns, which stay in the first.
constexpr int64_t kAbreast = 2, kColumns = 64;

// fn.operator()<units>(first unit): two units at a time share what is read of the rows.
template <class Fn>
void for_units(int64_t units, const Fn& fn) {
  int64_t unit = 0;
  for (; unit + 2 <= units; unit += 2) fn.template operator()<2>(unit);
  if (unit < units) fn.template operator()<1>(unit);
}

// On a matrix unit.
template <class Tiles>
class UnitProducts {
 public:
  static constexpr PairOrder kOrder = PairOrder::kChains;
  static bool works() { return true; }

  // s [unit][slot][head] of a block of rows, not yet scaled; `far` words are sixteen rows, or a unit of queries.
  template <int kUnits, class Fetch>
  void scores(const uint32_t* query, const uint32_t* rows, int64_t far, float* s, const Fetch& fetch) {
    constexpr int64_t kAtOnce = 4 / kUnits;  // tiles of rows, so that four sums hide each other's latency
    for (int64_t first = 0; first < kRowTiles; first += kAtOnce, s += kAtOnce * kTileWords) {
      const uint32_t *q = query, *row = rows + first * far;
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
        fetch(1);
      }
      float* second = s + (kUnits == 2 ? kRowTiles : 2) * kTileWords;
      tiles_.template store<0>(s, 64);
      tiles_.template store<1>(s + kTileWords, 64);
      tiles_.template store<2>(second, 64);
      tiles_.template store<3>(second + kTileWords, 64);
    }
  }

  // Adds n columns of a block, as pairs, `half` words for 32 slots, to sums [unit][head] whose rows are `stride` apart.
  template <int kUnits, class Fetch>
  void values(const uint32_t* w, const uint32_t* pairs, int64_t half, int64_t n, float* acc, int64_t stride,
              const Fetch& fetch) {
    const int64_t far = kAttendUnit * stride, bytes = 4 * stride;
    tiles_.template load<4>(w, 64);
    tiles_.template load<5>(w + kTileWords, 64);
    if constexpr (kUnits == 2) {
      tiles_.template load<6>(w + kUnitWords, 64);
      tiles_.template load<7>(w + kUnitWords + kTileWords, 64);
    }
    for (int64_t at = 0; at < n; at += 16, acc += 16, pairs += kTileWords) {
      tiles_.template load<0>(acc, bytes);
      tiles_.template load<2>(pairs, 64);
      tiles_.template add_bf16<0, 4, 2>();
      if constexpr (kUnits == 2) {
        tiles_.template load<1>(acc + far, bytes);
        tiles_.template add_bf16<1, 6, 2>();
      }
      tiles_.template load<3>(pairs + half, 64);
      tiles_.template add_bf16<0, 5, 3>();
      tiles_.template store<0>(acc, bytes);
      if constexpr (kUnits == 2) {
        tiles_.template add_bf16<1, 7, 3>();
        tiles_.template store<1>(acc + far, bytes);
      }
      fetch(1);
    }
  }

 private:
  Tiles tiles_;
};

// By vectors.
class PairProducts {
 public:
  static constexpr PairOrder kOrder = PairOrder::kNext;
  static bool works() { return pair_attend() != nullptr; }

  template <int kUnits, class Fetch>
  void scores(const uint32_t* query, const uint32_t* rows, int64_t far, float* s, const Fetch& fetch) const {
    for (int64_t tile = 0; tile < kRowTiles; ++tile, rows += far, s += kTileWords) {
      fns_.scores(query, rows, far / kTileWords, kUnits, s, kRowTiles * kTileWords);
      fetch(kRowsAhead);
    }
  }
  template <int kUnits, class Fetch>
  void values(const uint32_t* w, const uint32_t* pairs, int64_t half, int64_t n, float* acc, int64_t stride,
              const Fetch& fetch) const {
    for (int unit = 0; unit < kUnits; ++unit, w += kUnitWords, acc += kAttendUnit * stride)
      fns_.values(w, pairs, half, n, acc, stride);
    fetch(kRowsAhead);
  }

 private:
  static constexpr int64_t kRowsAhead = 6;  // per call, so that all are asked for in time

  const PairAttend& fns_ = *pair_attend();
};

template <class Products>
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
    if (!pack_.query(static_cast<const uint16_t*>(q), state_.heads, state_.dim, query_)) return false;
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
    weighed_ = 0;
    for (int64_t block = 0; block < kAbreast; ++block) {
      if (tile_[block].n == 0) continue;
      by_vectors_ =
          !pack_.rows(spec_.format, tile_[block], state_.rows, rows_ + block * tile_words(kAttendBlock, state_.dim));
      if (by_vectors_) return block;
      for_units(state_.units(), [&]<int kUnits>(int64_t unit) {
        if (by_vectors_) return;
        const int64_t far = state_.dim / kDotBlock * kTileWords;
        products_.template scores<kUnits>(query_ + unit * far, rows(block), far, scores_,
                                          [this](int64_t n) { fetch(n); });
        for (int64_t i = 0; i < kUnits; ++i) by_vectors_ |= !weigh(block, unit + i, i);
        weighed_ = unit + kUnits;
      });
      if (by_vectors_) return block;
      weighed_ = 0;
    }
    return kAbreast;
  }

  bool weigh(int64_t block, int64_t unit, int64_t of_scores) {
    const AttendTile& tile = tile_[block];
    const float* s = scores_ + of_scores * kAttendBlock * kAttendUnit;
    float *e = state_.weights, *by_slot = e + kAttendBlock * kAttendUnit;
    for (int i = 0; i < tile.n; ++i) std::copy_n(s + tile.slots[i] * kAttendUnit, kAttendUnit, e + i * kAttendUnit);
    vectors_.weigh(tile, unit, spec_.scale, spec_.rounds, state_, rescale(block, unit));
    if (tile.n == kAttendBlock) return pack_.weights(e, weights(block, unit));
    std::fill_n(by_slot, kAttendBlock * kAttendUnit, 0.0f);
    for (int i = 0; i < tile.n; ++i)
      std::copy_n(e + i * kAttendUnit, kAttendUnit, by_slot + tile.slots[i] * kAttendUnit);
    return pack_.weights(by_slot, weights(block, unit));
  }

  // Of blocks [0, ready), some columns at a time.
  void add_values(int64_t ready) {
    for (int64_t d = 0; d < state_.dim; d += kColumns) {
      const int64_t n = std::min(kColumns, state_.dim - d);
      uint64_t aside = 0;  // a bit for each unit whose sums are too small in these columns
      for (int64_t block = 0; block < ready; ++block) {
        if (tile_[block].n == 0) continue;
        pack_.pair_rows(rows(block) + d / kDotBlock * kTileWords, state_.dim, n, pairs_);
        for (int64_t unit = 0; unit < state_.units(); ++unit) add_rescaled(block, unit, d, n, aside);
        for_units(state_.units(), [&]<int kUnits>(int64_t unit) { multiply<kUnits>(block, unit, d, n, aside); });
      }
      by_vectors_ |= aside != 0;
    }
  }

  // Rescales sums; where they have become too small for the unit, adds the values too, now and for the other blocks.
  void add_rescaled(int64_t block, int64_t unit, int64_t d, int64_t n, uint64_t& aside) {
    const uint64_t bit = uint64_t{1} << unit;
    constexpr float kDone[kAttendUnit] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float* factors = rescale(block, unit);
    if ((aside & bit) == 0) {
      if (pack_.rescale(state_.acc + unit * kAttendUnit * state_.stride() + d, state_.stride(), n, factors)) return;
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
    products_.template values<kUnits>(weights(block, unit), pairs_, n / 16 * kTileWords, n,
                                      state_.acc + unit * kAttendUnit * state_.stride() + d, state_.stride(),
                                      [this](int64_t n) { fetch(n); });
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
    for (int i = 0; i < tile.n; ++i)
      for (int h = 0; h < kAttendUnit; ++h)
        state_.weights[i * kAttendUnit + h] = packed_weight(Products::kOrder, weights(block, unit), tile.slots[i], h);
  }

  // Asks for some rows of the next blocks: they lie anywhere, and all at once would be waited for. That keeps as far
  // ahead as it is; at first it is not.
  void fetch(int64_t rows) {
    for (int64_t left = fetched_ < kAbreast * kAttendBlock ? 3 * rows : rows; left > 0; --left) {
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
  const AttendPack& pack_ = *attend_pack(Products::kOrder);
  Products products_;
};

template <class Products>
bool add_all(const AttendSpec& spec, const AttendView& view, const void* q, const AttendFns& vectors,
             AttendState& state, float* memory) {
  return Adder<Products>(spec, view, vectors, state, memory).run(q);
}

template <class Products>
const AttendTiles* tiles_of() {
  static constexpr AttendTiles kTiles{add_all<Products>};
  return Products::works() ? &kTiles : nullptr;
}

bool fits(const RowFormat& format) {
  if (format.kind == RowFormat::Kind::kBF16) return format.dim % kDotBlock == 0;
  return format.kind == RowFormat::Kind::kFp8Tail && format.codes() % format.scale_block() == 0 &&
         format.tail % kDotBlock == 0;
}

}  // namespace

int64_t AttendTiles::floats(int64_t heads, int64_t dim) { return Adder<PairProducts>::floats(heads, dim); }

const AttendTiles* attend_tiles(const AttendSpec& spec, DType activation, const DotPaths& paths) {
  if (activation != DType::kBF16 || !spec.rounds || !fits(spec.format)) return nullptr;
  if (paths.unit != MatrixUnit::kNone)
    return with_tiles(paths.unit, []<class Tiles>() { return tiles_of<UnitProducts<Tiles>>(); });
  return paths.pairs ? tiles_of<PairProducts>() : nullptr;
}

}  // namespace v4rt::simd
