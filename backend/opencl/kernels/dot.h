#pragma once

#include "backend/opencl/kernels.h"
#include "ops/core/arith.h"

namespace v4rt {

// The tile of a product with kRows16 weights: `tokens` rows of x by `groups` row groups per lane group (dot.cl).
struct DotTile {
  int tokens, groups;

  // Row groups of one work-group.
  int64_t row_groups(const OpenclDevice& device) const {
    return groups * (device.capabilities().lanes == Lanes::kVector ? 1 : 4);
  }
  std::vector<std::string> definitions(DType act, DType weight) const;
};

// For products of one token with `rows` weight rows: few enough row groups per tile to occupy the device.
DotTile decode_tile(const OpenclDevice& device, int64_t rows);
// For many tokens.
DotTile prefill_tile(const OpenclDevice& device);

Support is_rows16(const TensorType& weight);

inline int64_t row_groups_of(int64_t rows) { return ceil_div(rows, 16); }

}  // namespace v4rt
