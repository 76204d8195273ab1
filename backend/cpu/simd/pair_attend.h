#pragma once

#include <cstdint>

namespace v4rt::simd {

// Attention's products of bf16 pairs (pairs.h) by vectors, over tiles in PairOrder::kNext.
struct PairAttend {
  // Sixteen rows with one or two units of heads: scores [unit][row][head], units `unit` numbers apart. `tiles` blocks
  // of 32 columns; tiles of the second unit follow those of the first.
  void (*scores)(const uint32_t* q, const uint32_t* rows, int64_t tiles, int units, float* scores, int64_t unit);
  // acc[h] += weights of 64 slots times n columns of their rows, of one unit. The second half of the slots is
  // kTileWords on among weights, and `half` words on among rows.
  void (*values)(const uint32_t* weights, const uint32_t* rows, int64_t half, int64_t n, float* acc, int64_t stride);
};
const PairAttend* pair_attend();  // nullptr: not for this instruction set

}  // namespace v4rt::simd
