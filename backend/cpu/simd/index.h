#pragma once

#include <cstdint>

#include "ops/attention/row_format.h"

namespace v4rt::simd {

inline constexpr int64_t kIndexKeys = 32;  // scored together, one per lane

// n <= 32 decoded keys, turned: panel [dim, 32].
void turn_keys(const float* keys, int64_t n, int64_t dim, float* panel);

// The same from n cache rows of a packed FP4 format whose dim is a multiple of eight.
void turn_fp4_keys(const RowFormat& format, const uint8_t* rows, int64_t n, float* panel);

// IndexSelect's scores of one query against the keys of a panel: q [heads, dim], weights g * weight_scale [heads] (rounded to
// bf16 when `rounds`).
void index_scores(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds, float* scores);

// The k < n largest scores, the lower index first among equals: their indices in ascending order. Destroys the scores.
void select_largest(float* scores, int64_t n, int64_t k, int32_t* indices);

}  // namespace v4rt::simd
