#pragma once

#include <cstdint>

#include "backend/cpu/simd/attend.h"
#include "backend/cpu/simd/tiles.h"

namespace v4rt::simd {

// Which two numbers of a block of 32 a word holds. Both have the first chain of dot in one half of the words, or of
// each word, and the second in the other.
enum class PairOrder : uint8_t {
  kChains,  // word i: i, and 16 + i in the upper half, as matrix units take them
  kNext,    // word i: 2 i + 1, and 2 i in the upper half, as pairs.h has them
};

inline constexpr int64_t kHalves = kAttendBlock / kDotBlock;
inline constexpr int64_t kUnitWords = kHalves * kTileWords;  // weights of a block of slots and unit of heads
constexpr int64_t tile_words(int64_t rows, int64_t dim) { return rows * dim / 2; }

// Queries, rows and weights of attention as tiles of bf16 pairs. Those that return false met a number that is not safe
// (safe_range.h).
struct AttendPack {
  // Per unit of heads and block of 32 one tile [word][head].
  bool (*query)(const uint16_t* q, int64_t heads, int64_t dim, uint32_t* to);
  // By slot: tile (slot / 16) * dim / 32 + b has block b of sixteen rows; what is masked is zero. `values` has room for
  // a row.
  bool (*rows)(const RowFormat& format, const AttendTile& tile, float* values, uint32_t* to);
  // n columns of the same as pairs of slots: tile half * n / 16 + d / 16 has, for columns d .. d + 15, 32 slots.
  void (*pair_rows)(const uint32_t* from, int64_t dim, int64_t n, uint32_t* to);
  // Weights [slot][head] as a tile of heads [head][word] for every 32 slots.
  bool (*weights)(const float* e, uint32_t* to);
  // acc[h] *= rescale[h], n columns. False when a sum has become too small for products of pairs.
  bool (*rescale)(float* acc, int64_t stride, int64_t n, const float* rescale);
};
const AttendPack* attend_pack(PairOrder order);  // nullptr: not for this instruction set

// A weight as it was packed.
float packed_weight(PairOrder order, const uint32_t* tiles, int slot, int head);

}  // namespace v4rt::simd
