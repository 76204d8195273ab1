#include "ops/hyper/hyper.h"

#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/row_kernel.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::vector<std::string> definitions_of(const OpCall& call) {
  const TensorType& h = call.inputs[0];
  return {define("ACT", h.dtype), define("NORM", call.inputs[4].dtype), define("M", h.shape[1])};
}

LiveRows live_of(const OpCall& call) {
  return call.op.kind() == OpKind::kHcHead ? op_of<HcHead>(call).rows : LiveRows::kTokens;
}

// What hc_pre and hc_head begin with: the products with fn, and the sum of squares, to scratch [T, mixes + 1].
std::unique_ptr<Kernel> make_hc_mix(const OpCall& call, OpenclDevice& device) {
  const TensorType& h = call.inputs[0];
  const int64_t mixes = call.inputs[1].shape[0];
  return make_kernel(
      [function = device.function("hyper.cl", definitions_of(call), "hc_mix"), mixes = narrow(mixes),
       width = narrow(h.shape[1] * h.shape[2]),
       live = live_of(call)](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const Grid grid{static_cast<size_t>(mixes) + 1, static_cast<size_t>(live_rows(step, live))};
        (*function)(queue, grid, args[0].values, args[1].values, args.back().values, mixes, width);
      },
      static_cast<size_t>(h.shape[0] * (mixes + 1)) * sizeof(float));
}

std::optional<RowFunction> hc_pre(const OpCall& call) {
  const TensorType& h = call.inputs[0];
  const HyperSpec& spec = op_of<HcPre>(call).spec;
  return RowFunction{
      .file = "hyper.cl",
      .name = "hc_pre_row",
      .definitions = definitions_of(call),
      .arguments = {TensorAt{0}, TensorAt{7}, TensorAt{2}, TensorAt{3}, TensorAt{4}, TensorAt{5}, TensorAt{6},
                    narrow(h.shape[2]), int32_t{spec.sinkhorn_iterations}, spec.hc_eps, spec.rms_eps},
      .local_floats = 64 + h.shape[1] + 2 * h.shape[1] * h.shape[1],
      .group = kMostRowGroup,
      .before = make_hc_mix};
}

std::optional<RowFunction> hc_head(const OpCall& call) {
  const TensorType& h = call.inputs[0];
  const HyperSpec& spec = op_of<HcHead>(call).spec;
  return RowFunction{.file = "hyper.cl",
                     .name = "hc_head_row",
                     .definitions = definitions_of(call),
                     .arguments = {TensorAt{0}, TensorAt{6}, TensorAt{2}, TensorAt{3}, TensorAt{4}, TensorAt{5},
                                   narrow(h.shape[2]), spec.hc_eps, spec.rms_eps},
                     .live = live_of(call),
                     .local_floats = 64 + h.shape[1],
                     .group = kMostRowGroup,
                     .before = make_hc_mix};
}

std::unique_ptr<Kernel> make_hc_post(const OpCall& call, OpenclDevice& device) {
  const TensorType& h = call.inputs[1];
  return make_kernel(
      [function = device.function("hyper.cl", {define("ACT", h.dtype), define("M", h.shape[1])}, "hc_post"),
       d = narrow(h.shape[2])](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        (*function)(queue, {tiles(d, kColumns), live_count(step)}, args[0].values, args[1].values, args[2].values,
                    args[3].values, d);
      });
}

}  // namespace

const OpenclEntry kOpenclHcPre{OpKind::kHcPre, "opencl.hc_pre", supports, make_row_kernel<hc_pre>};
const OpenclEntry kOpenclHcPost{OpKind::kHcPost, "opencl.hc_post", supports, make_hc_post};
const OpenclEntry kOpenclHcHead{OpKind::kHcHead, "opencl.hc_head", supports, make_row_kernel<hc_head>};
const RowOpEntry kRowHcPre{OpKind::kHcPre, hc_pre}, kRowHcHead{OpKind::kHcHead, hc_head};

}  // namespace v4rt
