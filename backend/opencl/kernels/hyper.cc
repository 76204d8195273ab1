#include "ops/hyper/hyper.h"

#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/tail.h"

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
class HcMixKernel final : public OpenclKernel {
 public:
  HcMixKernel(const OpCall& call, OpenclDevice& device, Tail tail)
      : tail_(std::move(tail)),
        function_([this, &device, definitions = definitions_of(call)] {
          const size_t group = tail_ ? work_group(device, kMostRowGroup) : 64;  // sums are of 64, tails of all
          return tail_.function(device, kernel_source("hyper.cl"), definitions, "hc_mix", group);
        }),
        mixes_(narrow(call.inputs[1].shape[0])),
        width_(narrow(call.inputs[0].shape[1] * call.inputs[0].shape[2])),
        live_(live_of(call)),
        scratch_(call.inputs.size() + call.outputs.size()) {
    scratch_bytes = static_cast<size_t>(call.inputs[0].shape[0] * (mixes_ + 1)) * sizeof(float);
  }

  void ask_for_programs() const override { (void)function_.get(); }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const Grid grid{static_cast<size_t>(mixes_) + 1, static_cast<size_t>(live_rows(step, live_))};
    function_.get()(queue, grid, args[0].values, args[1].values, args[scratch_].values, mixes_, width_,
                    tail_.arguments(queue, args).all());
  }

 private:
  Tail tail_;
  AskedFunction function_;
  int32_t mixes_, width_;
  LiveRows live_;
  size_t scratch_;
};

std::unique_ptr<Kernel> make_hc_mix(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail) {
  return std::make_unique<HcMixKernel>(calls[0].call, device, std::move(tail));
}

Lead lead_hc_mix(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const OpCall& call = calls[0].call;
  if (call.inputs[0].shape[0] != 1) return {};
  const auto groups = static_cast<uint32_t>(call.inputs[1].shape[0] + 1);
  return {.group = "get_group_id(0)",
          .of = {{.stripe_groups = groups}},
          .act = define("ACT", call.inputs[0].dtype),
          .arguments = arguments_of(3, 2),
          .items = work_group(device, kMostRowGroup),
          .local_bytes = 64 * sizeof(float)};
}

constexpr LeadEntry kHcMix{lead_hc_mix, make_hc_mix};

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
      .before = &kHcMix};
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
                     .before = &kHcMix};
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

const OpenclEntry kOpenclHcPre{OpKind::kHcPre, "opencl.hc_pre", supports, make_row_kernel};
const OpenclEntry kOpenclHcPost{OpKind::kHcPost, "opencl.hc_post", supports, make_hc_post};
const OpenclEntry kOpenclHcHead{OpKind::kHcHead, "opencl.hc_head", supports, make_row_kernel};
const RowOpEntry kRowHcPre{OpKind::kHcPre, hc_pre}, kRowHcHead{OpKind::kHcHead, hc_head};

}  // namespace v4rt
