#pragma once

#include "backend/opencl/kernels.h"
#include "ops/core/arith.h"

namespace v4rt {

// How work-groups share a product with kRows16 weights: `tokens` rows of x by `row_groups` row groups each. On vector
// lanes dot.cl does it, on work-items wide_dot.cl; kernels of both kinds have the same arguments and grids.
struct DotTile {
  int tokens = 1;
  int64_t row_groups = 1;
  size_t group = 1;                  // work-items
  int64_t local_bytes = 0;           // of local memory
  std::vector<std::string> options;  // of dot.cl or wide_dot.cl, for weights of any type

  // Options of dot.cl or wide_dot.cl for weights of that type.
  std::vector<std::string> definitions(OpenclDevice& device, DType weight) const;
  // Kernel `name` of kernels/<family>.cl or <family>_wide.cl.
  std::unique_ptr<OpenclFunction> function(OpenclDevice& device, std::string_view family, const char* name, DType act,
                                           DType weight, const std::vector<std::string>& more = {}) const;
};

// For products of one token with a matrix [rows, k]: enough work-groups to occupy the device.
DotTile decode_tile(const OpenclDevice& device, int64_t rows, int64_t k);
// For many tokens.
DotTile prefill_tile(const OpenclDevice& device, int64_t rows, int64_t k);

std::string dot_file(const OpenclDevice& device, std::string_view family);  // "moe.cl" or "moe_wide.cl"
std::string dot_text(const OpenclDevice& device, std::string_view family);  // with what it stands on, for instance_of()
Support is_rows16(const TensorType& weight);
// Whether such products can run there.
Support supports_dot(const TensorType& weight, const OpenclDevice& device);

inline int64_t row_groups_of(int64_t rows) { return ceil_div(rows, 16); }

}  // namespace v4rt
