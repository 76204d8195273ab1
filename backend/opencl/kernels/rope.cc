#include "ops/rope/rope.h"

#include "backend/opencl/kernels/entries.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<RopeTail>(call);
  const TensorType& x = call.inputs[0];
  return make_kernel([function = device.function("rope.cl", {define("ACT", x.dtype)}, "rope_tail"),
                      frequencies = device.constant(op.table.frequencies()), n = narrow(x.shape[-1]),
                      pairs = int32_t{op.table.dims / 2}, heads = narrow(x.shape.rank() == 3 ? x.shape[1] : 1),
                      sign = op.inverse ? -1.0f : 1.0f](OpenclQueue& queue, std::span<const Tensor> args,
                                                        const Step& step) {
    const size_t rows = live_count(step) * static_cast<size_t>(heads);
    (*function)(queue, {rows}, queue.step_table(), args[0].values, frequencies, args[1].values, n, pairs, heads, sign);
  });
}

}  // namespace

const OpenclEntry kOpenclRopeTail{OpKind::kRopeTail, "opencl.rope_tail", supports, make};

}  // namespace v4rt
