#pragma once

#include <cstdint>

#include "backend/cpu/simd/dot.h"
#include "ops/attention/row_format.h"

namespace v4rt::simd {

inline constexpr int64_t kIndexKeys = 32;  // scored together, one per lane

// n <= 32 decoded keys, transposed: panel [dim, 32].
void turn_keys(const float* keys, int64_t n, int64_t dim, float* panel);

// The same from n cache rows of a packed FP4 format whose dim is a multiple of eight.
void turn_fp4_keys(const RowFormat& format, const uint8_t* rows, int64_t n, float* panel);

// IndexSelect's scores of one query against the keys of a panel: q [heads, dim], weights g * weight_scale [heads]
// (rounded to bf16 when `rounds`).
void index_scores(const float* panel, int64_t dim, const float* q, const float* weights, int64_t heads, bool rounds,
                  float* scores);

// The same in integers for FP4 keys, if q is FP4 too (the lightning indexer rounds both): when the exponents of blocks
// of 32 differ little, every sum is exact, in any order.
inline constexpr int kIndexSpread = 9;  // at most, of a head's exponents plus a key's
bool index_integers_work(const RowFormat& format);
int pack_index_query(const float* q, int64_t heads, int64_t dim,
                     Integers* to);  // dim / 32 for each head; returns their spread
// n <= kIndexKeys rows as words [dim / 8][kIndexKeys] and scales [dim / 32][kIndexKeys]; returns their spread.
int turn_fp4_words(const RowFormat& format, const uint8_t* rows, int64_t n, uint32_t* words, float* scales);
void index_scores_of_integers(const uint32_t* words, const float* key_scales, int64_t dim, const Integers* q,
                              const float* weights, int64_t heads, bool rounds, float* scores);

// Indices of the k < n largest of n scores, the lower index first among equals, in ascending order. Before that, scores
// become orders (em_order) in place, by groups of kIndexKeys, and the largest order of each group is kept.
void order_scores(float* scores, int64_t n, uint32_t* largest);
void select_largest(const uint32_t* orders, uint32_t* largest, int64_t n, int64_t k, int32_t* indices);

}  // namespace v4rt::simd
