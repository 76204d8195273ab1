#pragma once

#include <cstdint>

#include "ops/attention/row_format.h"
#include "ops/core/arith.h"
#include "ops/core/dtype.h"
#include "ops/core/exact_sum.h"

namespace v4rt::simd {

// One query's attention over a group of its heads; ops/attention/attention.h has the formulas. A unit is sixteen heads.
inline constexpr int kAttendBlock = 64;  // slots per step of the online softmax
inline constexpr int kAttendUnit = 16;

struct AttendState {
  int64_t dim = 0, heads = 0;
  float* rows = nullptr;     // [64, stride()]: a block of rows, decoded
  float* q = nullptr;        // per unit [dim, 16]: queries with the head last
  float* acc = nullptr;      // [units * 16, stride()]
  float* maximum = nullptr;  // [units * 16], likewise
  float* sum = nullptr;
  float* weights = nullptr;  // [64, 16], twice: e of the live rows, and by slot

  int64_t padded() const { return round_up(dim, 16); }
  int64_t stride() const { return padded() + 16; }  // so that a column does not fall into few sets of the cache
  int64_t units() const { return ceil_div(heads, kAttendUnit); }
  int64_t floats() const;
  void place(float* memory);
};

// The rows that one query sees, by slot; null where one is masked.
struct AttendView {
  const uint8_t *ring = nullptr, *cache = nullptr;
  const int32_t* idx = nullptr;  // sparse: entry of each slot past the window
  int64_t ring_rows = 0, width = 0;
  int32_t first = 0, seen = 0;  // window: position of slot 0, and how many slots are live
  int64_t window = 0, slots = 0;

  const uint8_t* row(int64_t slot) const {
    if (slot >= slots) return nullptr;
    if (slot < window) return slot < seen ? ring + (first + slot) % ring_rows * width : nullptr;
    const int64_t entry = idx != nullptr ? idx[slot - window] : slot - window;
    return entry < 0 ? nullptr : cache + entry * width;
  }
};

// Live rows of a block, slots ascending: number i is slot slots[i] of the block, and numbers chains[c] <= i <
// chains[c + 1] are its slots 16 c .. 16 c + 15, which form one chain of a value sum.
struct AttendTile {
  const uint8_t* packed[kAttendBlock];  // by number
  int n = 0;
  int slots[kAttendBlock];
  int chains[kAttendBlock / kDotChain + 1];
};
AttendTile attend_block(const AttendView& view, int64_t begin);
void decode_rows(const RowFormat& format, const AttendTile& tile, AttendState& state);

struct AttendFns {
  void (*start)(const void* q, AttendState& state);  // q [heads, dim] of the activation type
  // Of one unit of heads, with the rows decoded.
  void (*add_block)(const AttendTile& tile, int64_t unit, float scale, bool rounds, AttendState& state);
  // Two parts of add_block. The dots [row, 16] in state.weights become weights; `rescale` is what the sums of values
  // have to be multiplied by.
  void (*weigh)(const AttendTile& tile, int64_t unit, float scale, bool rounds, AttendState& state, float* rescale);
  void (*add_values)(const AttendTile& tile, int64_t unit, const float* rescale, int64_t begin, int64_t end,
                     AttendState& state);                            // columns [begin, end), from a multiple of 64 on
  void (*finish)(const float* sink, AttendState& state, void* out);  // out [heads, dim] of the activation type
};
const AttendFns& attend(DType activation);

}  // namespace v4rt::simd
