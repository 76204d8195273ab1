#include "backend/opencl/kernels/entries.h"
#include "ops/norm/norm.h"

namespace v4rt {
namespace {

class RmsNormKernel final : public OpenclKernel {
 public:
  RmsNormKernel(const OpCall& call, OpenclDevice& device)
      : function_(device.function("rms_norm.cl", {define("ACT", call.inputs[0].dtype), define("WEIGHT", call.inputs[1].dtype)}, "rms_norm")),
        n_(narrow(call.inputs[0].shape[-1])),
        rows_per_token_(static_cast<size_t>(per_first(call.inputs[0].shape)) / static_cast<size_t>(n_)),
        eps_(op_of<RmsNorm>(call).eps),
        live_(op_of<RmsNorm>(call).rows) {}

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const size_t rows = static_cast<size_t>(live_rows(step, live_)) * rows_per_token_;
    (*function_)(queue, {rows}, args[0].values, args[1].values, args[2].values, n_, eps_);
  }

 private:
  std::unique_ptr<OpenclFunction> function_;
  int32_t n_;
  size_t rows_per_token_;
  float eps_;
  LiveRows live_;
};

Support supports(const OpCall&, const OpenclDevice&) { return {}; }

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  return std::make_unique<RmsNormKernel>(call, device);
}

}  // namespace

const OpenclEntry kOpenclRmsNorm{OpKind::kRmsNorm, "opencl.rms_norm", supports, make};

}  // namespace v4rt
