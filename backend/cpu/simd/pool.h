#pragma once

#include <cstdint>

namespace v4rt::simd {

// One row of CompressPool's pool: values, scores and what is added to the scores, from the first channel on.
struct PoolRow {
  const float *values, *scores, *ape;
};

// Per channel of [begin, end): softmax over the rows in order, then the weighted sum (ops/attention/attention.h).
void pool_channels(const PoolRow* rows, int64_t n, int64_t begin, int64_t end, float* entry);

}  // namespace v4rt::simd
