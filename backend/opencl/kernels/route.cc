#include "backend/opencl/kernels/entries.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice& device) {
  const Support rows = all_row_major(call);
  return rows ? fits_local(device, 12 * call.inputs[0].shape[1]) : rows;
}

std::unique_ptr<OpenclFunction> router(const OpCall& call, OpenclDevice& device, const char* name) {
  return device.function("route.cl", {define("EXPERTS", call.inputs[0].shape[1])}, name);
}

std::unique_ptr<Kernel> make_topk(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<RouteTopK>(call);
  return make_kernel([function = router(call, device, "route_topk"), k = int32_t{op.k}, scale = op.scale](
                         OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    (*function)(queue, {live_count(step)}, args[0].values, args[1].values, args[2].values, args[3].values, k, scale);
  });
}

std::unique_ptr<Kernel> make_hash(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<RouteHash>(call);
  return make_kernel([function = router(call, device, "route_hash"), k = int32_t{op.k}, scale = op.scale](
                         OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    (*function)(queue, {live_count(step)}, args[0].values, args[1].values, args[2].values, args[3].values,
                args[4].values, k, scale);
  });
}

}  // namespace

const OpenclEntry kOpenclRouteTopK{OpKind::kRouteTopK, "opencl.route_topk", supports, make_topk};
const OpenclEntry kOpenclRouteHash{OpKind::kRouteHash, "opencl.route_hash", supports, make_hash};

}  // namespace v4rt
