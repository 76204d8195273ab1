#include "backend/opencl/kernels/entries.h"
#include "ops/norm/norm.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::unique_ptr<Kernel> make_rms_norm(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<RmsNorm>(call);
  const TensorType& x = call.inputs[0];
  return make_kernel(
      [function = device.function("rms_norm.cl", {define("ACT", x.dtype), define("WEIGHT", call.inputs[1].dtype)},
                                  "rms_norm", work_group(device, x.shape[-1] >= 1024 ? 256 : 64)),
       n = narrow(x.shape[-1]), per_token = rows_per_first(x.shape), eps = op.eps,
       live = op.rows](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const size_t rows = static_cast<size_t>(live_rows(step, live)) * per_token;
        (*function)(queue, {rows}, args[0].values, args[1].values, args[2].values, n, eps);
      });
}

std::unique_ptr<Kernel> make_head_rms(const OpCall& call, OpenclDevice& device) {
  const TensorType& q = call.inputs[0];
  return make_kernel([function = device.function("head_rms.cl", {define("ACT", q.dtype)}, "head_rms"),
                      n = narrow(q.shape[-1]), per_token = rows_per_first(q.shape), eps = op_of<HeadRms>(call).eps](
                         OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    (*function)(queue, {live_count(step) * per_token}, args[0].values, args[1].values, n, eps);
  });
}

}  // namespace

const OpenclEntry kOpenclRmsNorm{OpKind::kRmsNorm, "opencl.rms_norm", supports, make_rms_norm};
const OpenclEntry kOpenclHeadRms{OpKind::kHeadRms, "opencl.head_rms", supports, make_head_rms};

}  // namespace v4rt
