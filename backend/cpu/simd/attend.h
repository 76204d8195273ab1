#pragma once

#include <cstdint>

#include "ops/core/dtype.h"
#include "ops/core/exact_sum.h"

namespace v4rt::simd {

// One query's attention over a group of its heads; ops/attention/attention.h has the formulas. A unit is sixteen heads.
inline constexpr int kAttendBlock = 64;  // slots per step of the online softmax
inline constexpr int kAttendUnit = 16;

struct AttendState {
  int64_t dim = 0, padded = 0;  // padded: dim rounded up to a multiple of sixteen
  int64_t heads = 0;
  float* q = nullptr;        // per unit [dim, 16]: queries with the head last
  float* acc = nullptr;      // [heads, padded]
  float* maximum = nullptr;  // [units * 16], likewise
  float* sum = nullptr;
  float* weights = nullptr;  // [64, 16], twice: e of the live rows, and by slot
};

// Live rows of a block, decoded, slots ascending: rows[i * stride ...] is slot slots[i] of the block, and rows
// chains[c] <= i < chains[c + 1] are its slots 16 c .. 16 c + 15, which form one chain of a value sum.
struct AttendTile {
  const float* rows = nullptr;
  int64_t stride = 0;
  int n = 0;
  int slots[kAttendBlock];
  int chains[kAttendBlock / kDotChain + 1];
};

struct AttendFns {
  void (*start)(const void* q, AttendState& state);  // q [heads, dim] of the activation type
  void (*add_block)(const AttendTile& tile, float scale, bool rounds, AttendState& state);
  void (*finish)(const float* sink, AttendState& state, void* out);  // out [heads, dim] of the activation type
};
const AttendFns& attend(DType activation);

}  // namespace v4rt::simd
