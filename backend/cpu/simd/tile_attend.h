#pragma once

#include <cstdint>

#include "backend/cpu/simd/attend.h"
#include "backend/cpu/simd/dot.h"
#include "ops/attention/attention.h"

namespace v4rt::simd {

// A query's attention on a matrix unit, whose order is that of dot: scores are products of sixteen rows with sixteen
// heads, values those of sixteen heads' weights with rows, for which the sixteen first of 32 slots stand beside the
// others. What could become a subnormal number goes by vectors.
struct AttendTiles {
  // Adds all blocks of a started state; q [heads, dim] of bf16. False, with nothing done, when its numbers do not fit.
  bool (*add_all)(const AttendSpec& spec, const AttendView& view, const void* q, const AttendFns& vectors,
                  AttendState& state, float* memory);

  static int64_t floats(int64_t heads, int64_t dim);  // of memory
};
const AttendTiles* attend_tiles(const AttendSpec& spec, DType activation, MatrixUnit unit);  // nullptr: does not fit

}  // namespace v4rt::simd
