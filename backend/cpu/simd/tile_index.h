#pragma once

#include <cstdint>

#include "backend/cpu/simd/dot.h"
#include "backend/cpu/simd/index.h"

namespace v4rt::simd {

// Keys of one sequence, and queries of it that fit.
struct IndexTileCall {
  static constexpr int kMostQueries = 8;

  const uint8_t* rows = nullptr;
  int64_t keys = 0, heads = 0;
  bool rounds = false;
  int queries = 0;
  float* query[kMostQueries];   // as pack_query made them
  float* scores[kMostQueries];  // of all keys; past their end as well, to whole groups
  float* memory = nullptr;      // work_floats()
};

// index_scores_of_integers for all heads at once, on a matrix unit or by vectors. The numbers of a head, and those of a
// key, become bytes of one common unit: where the scale of a block is above the least of its row, its integers are
// shifted. Sums are whole numbers below 2^24, exact in any order.
struct IndexTiles {
  // Heads of a query as pack_index_query made them, and their weights; false when the blocks of one differ too much, or
  // when numbers are so small or large that powers of two could not be taken out of the sum over heads.
  bool (*pack_query)(const Integers* q, const float* weights, int64_t heads, int64_t dim, bool rounds, float* to);
  // Groups of kIndexKeys from `begin` on; returns the first one whose keys do not fit, or `end`.
  int64_t (*scores)(const RowFormat& format, const IndexTileCall& call, int64_t begin, int64_t end);

  static int64_t query_floats(int64_t heads, int64_t dim);
  static int64_t work_floats(int64_t heads, const RowFormat& format);
};
const IndexTiles* index_tiles(const RowFormat& format, MatrixUnit unit);  // nullptr: they do not fit

}  // namespace v4rt::simd
