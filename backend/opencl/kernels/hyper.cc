#include "ops/hyper/hyper.h"

#include "backend/opencl/kernels/entries.h"

namespace v4rt {
namespace {

// hc_pre and hc_head first write the products with fn, and the sum of squares, to scratch [T, mixes + 1]; then one
// work-group per row.

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

struct HyperFunctions {
  std::unique_ptr<OpenclFunction> mix, finish;
  int32_t mixes, m, d;

  HyperFunctions(const OpCall& call, OpenclDevice& device, const char* finish_name)
      : mixes(narrow(call.inputs[1].shape[0])), m(narrow(call.inputs[0].shape[1])), d(narrow(call.inputs[0].shape[2])) {
    const std::vector<std::string> definitions{define("ACT", call.inputs[0].dtype),
                                               define("NORM", call.inputs[4].dtype), define("M", m)};
    mix = device.function("hyper.cl", definitions, "hc_mix");
    finish = device.function("hyper.cl", definitions, finish_name, work_group(device, 256));
  }

  void enqueue_mix(OpenclQueue& queue, std::span<const Tensor> args, size_t rows) const {
    (*mix)(queue, {static_cast<size_t>(mixes) + 1, rows}, args[0].values, args[1].values, args.back().values, mixes,
           m * d);
  }
  size_t scratch_bytes(const OpCall& call) const {
    return static_cast<size_t>(call.inputs[0].shape[0] * (mixes + 1)) * sizeof(float);
  }
};

std::unique_ptr<Kernel> make_hc_pre(const OpCall& call, OpenclDevice& device) {
  HyperFunctions f(call, device, "hc_pre");
  const size_t scratch = f.scratch_bytes(call);
  return make_kernel(
      [f = std::move(f), spec = op_of<HcPre>(call).spec](OpenclQueue& queue, std::span<const Tensor> args,
                                                         const Step& step) {
        f.enqueue_mix(queue, args, live_count(step));
        (*f.finish)(queue, {live_count(step)}, args[0].values, args.back().values, args[2].values, args[3].values,
                    args[4].values, args[5].values, args[6].values, f.d, int32_t{spec.sinkhorn_iterations}, spec.hc_eps,
                    spec.rms_eps);
      },
      scratch);
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

std::unique_ptr<Kernel> make_hc_head(const OpCall& call, OpenclDevice& device) {
  HyperFunctions f(call, device, "hc_head");
  const size_t scratch = f.scratch_bytes(call);
  return make_kernel(
      [f = std::move(f), spec = op_of<HcHead>(call).spec, live = op_of<HcHead>(call).rows](
          OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const auto rows = static_cast<size_t>(live_rows(step, live));
        f.enqueue_mix(queue, args, rows);
        (*f.finish)(queue, {rows}, args[0].values, args.back().values, args[2].values, args[3].values, args[4].values,
                    args[5].values, f.d, spec.hc_eps, spec.rms_eps);
      },
      scratch);
}

}  // namespace

const OpenclEntry kOpenclHcPre{OpKind::kHcPre, "opencl.hc_pre", supports, make_hc_pre};
const OpenclEntry kOpenclHcPost{OpKind::kHcPost, "opencl.hc_post", supports, make_hc_post};
const OpenclEntry kOpenclHcHead{OpKind::kHcHead, "opencl.hc_head", supports, make_hc_head};

}  // namespace v4rt
