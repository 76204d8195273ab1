#include "ops/linear/linear.h"

#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/entries.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice& device) { return supports_dot(call.inputs[1], device); }

struct LinearFunction {
  DotTile tile;
  std::unique_ptr<OpenclFunction> function;

  LinearFunction(const OpCall& call, OpenclDevice& device, const DotTile& tile)
      : tile(tile),
        function(tile.function(device, "linear", "linear", call.inputs[0].dtype, call.inputs[1].dtype,
                               {define("OUT", call.outputs[0].dtype)})) {}
};

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<Linear>(call);
  const TensorType &x = call.inputs[0], &w = call.inputs[1];
  const int64_t rows_per_token = op.rows_per_token(x, w), n = w.shape[0] / op.groups, k = w.shape[1];
  LinearFunction single(call, device, decode_tile(device, n, k));
  std::unique_ptr<LinearFunction> many;
  if (x.shape[0] * rows_per_token > 1)
    many = std::make_unique<LinearFunction>(call, device, prefill_tile(device, n, k));
  return make_kernel([single = std::move(single), many = std::move(many), rows_per_token, n = narrow(n), k = narrow(k),
                      op_groups = int32_t{op.groups},
                      live = op.rows](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    const int32_t rows = narrow(live_rows(step, live) * rows_per_token);
    const LinearFunction& f = rows > 1 ? *many : single;
    // An op group that starts within a row group touches one row group more.
    const int64_t row_groups = row_groups_of(n) + (op_groups > 1 && n % 16 != 0 ? 1 : 0);
    const Grid grid{tiles(rows, f.tile.tokens), tiles(row_groups, f.tile.row_groups), static_cast<size_t>(op_groups)};
    (*f.function)(queue, grid, args[0].values, args[1].values, scales_of(args[1]), args[2].values, rows, k, n,
                  op_groups);
  });
}

}  // namespace

const OpenclEntry kOpenclLinear{OpKind::kLinear, "opencl.linear", supports, make};

}  // namespace v4rt
