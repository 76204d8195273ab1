#include "backend/opencl/kernels/dot.h"

namespace v4rt {

std::vector<std::string> DotTile::definitions(DType act, DType weight) const {
  return {define("ACT", act), define("W", weight), define("W_BITS", 8 * info(weight).block_bytes / info(weight).block),
          define("TOKEN_TILE", tokens), define("ROW_TILE", groups)};
}

DotTile decode_tile(const OpenclDevice& device, int64_t rows) {
  const Capabilities& c = device.capabilities();
  if (c.lanes == Lanes::kWorkItems) return {1, 1};
  // A product's sum is a chain of fma: several row groups side by side hide its latency.
  int groups = 4;
  while (groups > 1 && row_groups_of(rows) < groups * static_cast<int64_t>(c.compute_units)) groups /= 2;
  return {1, groups};
}

DotTile prefill_tile(const OpenclDevice& device) {
  return device.capabilities().lanes == Lanes::kVector ? DotTile{32, 2} : DotTile{8, 1};
}

Support is_rows16(const TensorType& weight) {
  return weight.layout == Layout::kRows16 ? Support{} : Support::no("its weight is not in rows16 layout");
}

}  // namespace v4rt
