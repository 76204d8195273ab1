#include "backend/opencl/kernels/head_tile.h"

#include <algorithm>
#include <bit>

namespace v4rt {

int64_t HeadTile::local_bytes() const {
  constexpr int64_t kDepth = 64;  // DEPTH of head_tile.cl
  return static_cast<int64_t>(sizeof(float)) * kDepth * (heads() + 4 + columns() + 4);
}

HeadTile head_tile(const OpenclDevice& device, int64_t rows, int64_t heads) {
  const auto quads =
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(ceil_div(heads, 4), 1))));
  const HeadTile large{128, 16, 4};
  const bool fits = large.group <= device.capabilities().max_group &&
                    large.local_bytes() <= static_cast<int64_t>(device.capabilities().local_memory);
  return rows > 1 && quads >= 16 && fits ? large : HeadTile{64, std::min<int64_t>(quads, 4), 1};
}

}  // namespace v4rt
