#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/row_kernel.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice& device) {
  const Support rows = all_row_major(call);
  return rows ? fits_local(device, 4 * (3 * call.inputs[0].shape[1] + 1)) : rows;
}

RowFunction router(const OpCall& call, std::string_view name, std::vector<RowArgument> arguments, int64_t floats) {
  const int64_t experts = call.inputs[0].shape[1];
  return {.file = "route.cl",
          .name = name,
          .definitions = {define("EXPERTS", experts)},
          .arguments = std::move(arguments),
          .local_floats = floats * experts + 1};
}

std::optional<RowFunction> topk(const OpCall& call) {
  const auto& op = op_of<RouteTopK>(call);
  return router(call, "route_topk_row", {TensorAt{0}, TensorAt{1}, TensorAt{2}, TensorAt{3}, int32_t{op.k}, op.scale},
                3);
}

std::optional<RowFunction> hash(const OpCall& call) {
  const auto& op = op_of<RouteHash>(call);
  return router(call, "route_hash_row",
                {TensorAt{0}, TensorAt{1}, TensorAt{2}, TensorAt{3}, TensorAt{4}, int32_t{op.k}, op.scale}, 1);
}

}  // namespace

const OpenclEntry kOpenclRouteTopK{OpKind::kRouteTopK, "opencl.route_topk", supports, make_row_kernel};
const OpenclEntry kOpenclRouteHash{OpKind::kRouteHash, "opencl.route_hash", supports, make_row_kernel};
const RowOpEntry kRowRouteTopK{OpKind::kRouteTopK, topk}, kRowRouteHash{OpKind::kRouteHash, hash};

}  // namespace v4rt
