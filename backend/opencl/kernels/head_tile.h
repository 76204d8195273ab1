#pragma once

#include "backend/opencl/kernels.h"

namespace v4rt {

// The tile of head_tile.cl: how work-groups share the products of all heads with a row's keys or values.
struct HeadTile {
  size_t group;
  int64_t quads, per_item;

  int64_t heads() const { return 4 * quads; }
  int64_t columns() const { return static_cast<int64_t>(group) / quads * per_item; }
  int64_t local_bytes() const;
  std::vector<std::string> options() const { return {define("HEAD_QUADS", quads), define("PER_ITEM", per_item)}; }
};

// Many rows give enough work-groups for large tiles; one row is cut into small ones.
HeadTile head_tile(const OpenclDevice& device, int64_t rows, int64_t heads);

}  // namespace v4rt
