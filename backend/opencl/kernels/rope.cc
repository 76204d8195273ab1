#include "ops/rope/rope.h"

#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/row_kernel.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::optional<RowFunction> rope_tail(const OpCall& call) {
  const auto& op = op_of<RopeTail>(call);
  const TensorType& x = call.inputs[0];
  const int32_t heads = narrow(x.shape.rank() == 3 ? x.shape[1] : 1);
  return RowFunction{.file = "rope.cl",
                     .name = "rope_tail_row",
                     .definitions = {define("ACT", x.dtype)},
                     .arguments = {StepTable{}, TensorAt{0}, Table(op.frequencies), TensorAt{1}, narrow(x.shape[-1]),
                                   int32_t{op.table.dims / 2}, heads, op.inverse ? -1.0f : 1.0f},
                     .rows_per_token = static_cast<size_t>(heads)};
}

}  // namespace

const RowOpEntry kRowRopeTail{OpKind::kRopeTail, rope_tail};
const OpenclEntry kOpenclRopeTail{OpKind::kRopeTail, "opencl.rope_tail", supports, make_row_kernel};

}  // namespace v4rt
