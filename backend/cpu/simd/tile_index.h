#pragma once

#include <cstdint>

#include "backend/cpu/simd/dot.h"
#include "backend/cpu/simd/index.h"

namespace v4rt::simd {

// index_scores_of_integers on a matrix unit, for all heads at once. The numbers of a head, and those of a key, become
// bytes of one common unit: where the scale of a block is above the least of its row, its integers are shifted. Sums
// are whole numbers below 2^24, exact in any order.
struct IndexTiles {
  // Heads of a query as pack_index_query made them; false when the blocks of one differ too much.
  bool (*pack_query)(const Integers* q, int64_t heads, int64_t dim, float* to);
  // kIndexKeys keys as turn_fp4_words made them; likewise.
  bool (*pack_keys)(const uint32_t* words, const float* scales, int64_t dim, float* to);
  void (*scores)(const float* query, const float* keys, int64_t dim, const float* weights, int64_t heads, bool rounds,
                 float* scores);

  static int64_t query_floats(int64_t heads, int64_t dim);
  static int64_t keys_floats(int64_t dim);
};
const IndexTiles* index_tiles(const RowFormat& format, MatrixUnit unit);  // nullptr: they do not fit

}  // namespace v4rt::simd
