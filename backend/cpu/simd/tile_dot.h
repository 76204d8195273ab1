#pragma once

#include "backend/cpu/simd/dot.h"

namespace v4rt::simd {

// Products of several rows on a matrix unit, in the order of exact_math.h's dot: rows of bf16, with weights that are
// bf16 or become so with their scale. Rows are packed sixteen at a time, a tile per block of 32 elements of k, element
// i beside element 16 + i; weights are widened to tiles likewise, for some columns and a stage of k, and stay in the
// caches while all rows are multiplied. What the unit could take for zero, and what is not a number, goes by `add` of
// dot_fns without the unit: the bits are the same.
//
// nullptr: `paths` have no unit, or the types do not fit one.
const DotFns* tile_dot_fns(DType weight, DType activation, const DotPaths& paths);

int64_t tile_floats(int64_t rows, int64_t k);  // that packed rows take

}  // namespace v4rt::simd
