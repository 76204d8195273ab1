#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/row_kernel.h"
#include "ops/norm/norm.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::optional<RowFunction> rms_norm(const OpCall& call) {
  const auto& op = op_of<RmsNorm>(call);
  const TensorType& x = call.inputs[0];
  return RowFunction{.file = "rms_norm.cl",
                     .name = "rms_norm_row",
                     .definitions = {define("ACT", x.dtype), define("WEIGHT", call.inputs[1].dtype)},
                     .arguments = {TensorAt{0}, TensorAt{1}, TensorAt{2}, narrow(x.shape[-1]), op.eps},
                     .rows_per_token = rows_per_first(x.shape),
                     .live = op.rows,
                     .local_floats = 64,
                     .group = row_group(x.shape[-1])};
}

std::optional<RowFunction> head_rms(const OpCall& call) {
  const TensorType& q = call.inputs[0];
  return RowFunction{.file = "head_rms.cl",
                     .name = "head_rms_row",
                     .definitions = {define("ACT", q.dtype)},
                     .arguments = {TensorAt{0}, TensorAt{1}, narrow(q.shape[-1]), op_of<HeadRms>(call).eps},
                     .rows_per_token = rows_per_first(q.shape),
                     .local_floats = 64};
}

}  // namespace

const RowOpEntry kRowRmsNorm{OpKind::kRmsNorm, rms_norm}, kRowHeadRms{OpKind::kHeadRms, head_rms};
const OpenclEntry kOpenclRmsNorm{OpKind::kRmsNorm, "opencl.rms_norm", supports, make_row_kernel};
const OpenclEntry kOpenclHeadRms{OpKind::kHeadRms, "opencl.head_rms", supports, make_row_kernel};

}  // namespace v4rt
