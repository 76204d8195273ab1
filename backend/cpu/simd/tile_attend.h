#pragma once

#include <cstdint>

#include "backend/cpu/simd/attend.h"
#include "backend/cpu/simd/dot.h"
#include "ops/attention/attention.h"

namespace v4rt::simd {

// A query's attention by products of bf16 pairs, on a matrix unit or by vectors (pairs.h), whose order is that of dot:
// scores are products of sixteen rows with sixteen heads, values those of sixteen heads' weights with pairs of rows.
// What could become a subnormal number goes by vectors of floats.
struct AttendTiles {
  // Adds all blocks of a started state; q [heads, dim] of bf16. False, with nothing done, when its numbers do not fit.
  bool (*add_all)(const AttendSpec& spec, const AttendView& view, const void* q, const AttendFns& vectors,
                  AttendState& state, float* memory);

  static int64_t floats(int64_t heads, int64_t dim);  // of memory
};
const AttendTiles* attend_tiles(const AttendSpec& spec, DType activation, const DotPaths& paths);  // nullptr: no fit

}  // namespace v4rt::simd
