#include "ops/moe/moe.h"

#include <algorithm>

#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/tail.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

// One token: a work-group per pick and row tile. More tokens: picks are sorted by expert first, so that a tile of up to
// tile.tokens picks decodes its expert's weights once; the host launches for the most tiles there can be.

struct Picks {
  int32_t k, first, experts, tile;
  int64_t capacity;  // of picks

  int32_t max_tiles(int64_t picks) const {
    return narrow(std::min<int64_t>(picks, picks / tile + std::min<int64_t>(picks, experts)));
  }
  size_t plan_bytes() const {
    return static_cast<size_t>(1 + 3 * int64_t{max_tiles(capacity)} + capacity) * sizeof(int32_t);
  }
};

Picks picks_of(const TensorType& ids, const TensorType& weight, const DotTile& tile, int64_t first = 0) {
  return {narrow(ids.shape[1]), narrow(first), narrow(weight.shape[0]), tile.tokens, ids.shape.elements()};
}

struct Sorter {
  Picks picks;
  std::unique_ptr<OpenclFunction> function;

  Sorter(const Picks& picks, OpenclDevice& device) : picks(picks) {
    const size_t group = work_group(device, 256);
    function = device.function(
        "route.cl", {define("ACT", DType::kF32), define("SORTED_EXPERTS", int64_t{picks.experts})}, "moe_sort", group);
  }
  // Fills the plan; returns how many tiles there may be.
  int32_t sort(OpenclQueue& queue, const BufferPtr& ids, const BufferPtr& plan, const Step& step) const {
    const int32_t n = step.n_rows() * picks.k, max_tiles = picks.max_tiles(n);
    (*function)(queue, {1}, ids, plan, n, picks.first, picks.experts, picks.tile, max_tiles);
    return max_tiles;
  }
};

Support supports_gate_up(const OpCall& call, const OpenclDevice& device) {
  return supports_dot(call.inputs[3], device);
}

class GateUpOfOne final : public OpenclKernel {
 public:
  GateUpOfOne(const OpCall& call, OpenclDevice& device, Tail tail = {})
      : tile_(decode_tile(device, call.inputs[3].shape[1], call.inputs[3].shape[2])),
        tail_(std::move(tail)),
        function_([this, &device, act = call.inputs[0].dtype, weight = call.inputs[3].dtype] {
          return tail_.function(device, kernel_source(dot_file(device, "moe")),
                                std::vector{define("ACT", act)} + tile_.definitions(device, weight), "moe_gate_up",
                                tile_.group);
        }),
        k_(narrow(call.inputs[1].shape[1])),
        inner_(narrow(call.inputs[3].shape[1])),
        d_(narrow(call.inputs[3].shape[2])),
        first_(narrow(op_of<MoeGateUp>(call).first)),
        experts_(narrow(call.inputs[3].shape[0])),
        limit_(op_of<MoeGateUp>(call).limit),
        y_(call.inputs.size()) {}

  void ask_for_programs() const override { (void)function_.get(); }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const Grid grid{live_count(step) * static_cast<size_t>(k_), tiles(row_groups_of(inner_), tile_.row_groups)};
    function_.get()(queue, grid, args[0].values, args[1].values, args[2].values, args[3].values, scales_of(args[3]),
                    args[4].values, scales_of(args[4]), args[y_].values, k_, d_, inner_, limit_, first_, experts_,
                    args[1].values, int32_t{0}, tail_.arguments(queue, args).all());
  }

 private:
  DotTile tile_;
  Tail tail_;
  AskedFunction function_;
  int32_t k_, inner_, d_, first_, experts_;
  float limit_;
  size_t y_;
};

Lead lead_gate_up(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const OpCall& call = calls[0].call;
  if (call.op.kind() != OpKind::kMoeGateUp || call.inputs[0].shape[0] != 1 || !supports_gate_up(call, device))
    return {};
  const TensorType& gate = call.inputs[3];
  const DotTile tile = decode_tile(device, gate.shape[1], gate.shape[2]);
  const int64_t picks = call.inputs[1].shape[1], inner = gate.shape[1];
  return {.ops = 1,
          .tensors = call.inputs.size() + call.outputs.size(),
          .group = "get_group_id(1) + get_num_groups(1) * get_group_id(0)",
          .of = {{.stripe_groups = static_cast<uint32_t>(tiles(row_groups_of(inner), tile.row_groups)),
                  .stripe_columns = inner,
                  .columns = picks * inner}},
          .act = define("ACT", call.inputs[0].dtype),
          .arguments = arguments_of(9, 7),
          .items = tile.group,
          .local_bytes = tile.local_bytes};
}

std::unique_ptr<Kernel> make_lead_gate_up(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail) {
  return std::make_unique<GateUpOfOne>(calls[0].call, device, std::move(tail));
}

std::unique_ptr<Kernel> make_gate_up(const OpCall& call, OpenclDevice& device) {
  const TensorType &x = call.inputs[0], &gate = call.inputs[3];
  if (x.shape[0] == 1) return std::make_unique<GateUpOfOne>(call, device);
  const DotTile tile = prefill_tile(device, gate.shape[1], gate.shape[2]);
  Sorter sorter(picks_of(call.inputs[1], gate, tile, op_of<MoeGateUp>(call).first), device);
  const size_t scratch = sorter.picks.plan_bytes();
  return make_kernel(
      [sorter = std::move(sorter),
       function = tile.function(device, "moe", "moe_gate_up", x.dtype, gate.dtype, {"SORTED"}),
       row_tiles = tiles(row_groups_of(gate.shape[1]), tile.row_groups), inner = narrow(gate.shape[1]),
       d = narrow(gate.shape[2]), limit = op_of<MoeGateUp>(call).limit,
       y = call.inputs.size()](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const BufferPtr& plan = args.back().values;
        const int32_t max_tiles = sorter.sort(queue, args[1].values, plan, step);
        (*function)(queue, {static_cast<size_t>(max_tiles), row_tiles}, args[0].values, args[1].values, args[2].values,
                    args[3].values, scales_of(args[3]), args[4].values, scales_of(args[4]), args[y].values,
                    sorter.picks.k, d, inner, limit, sorter.picks.first, sorter.picks.experts, plan, max_tiles);
      },
      scratch);
}

Support supports_down(const OpCall& call, const OpenclDevice& device) { return supports_dot(call.inputs[2], device); }

// Its program is asked for late: most are launched with others (column_chain.h).
struct DownOfOne {
  DotTile tile;
  std::unique_ptr<AskedFunction> function;
  int32_t k, d, inner;

  DownOfOne(const OpCall& call, OpenclDevice& device)
      : tile(decode_tile(device, call.inputs[2].shape[1], call.inputs[2].shape[2])),
        function(std::make_unique<AskedFunction>(
            [&device, tile = tile, act = call.inputs[0].dtype, weight = call.inputs[2].dtype] {
              return tile.function(device, "moe", "moe_down", act, weight);
            })),
        k(narrow(call.inputs[0].shape[1])),
        d(narrow(call.inputs[2].shape[1])),
        inner(narrow(call.inputs[2].shape[2])) {}
  void operator()(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const {
    function->get()(queue, {live_count(step), tiles(row_groups_of(d), tile.row_groups)}, args[0].values, args[1].values,
                    args[2].values, scales_of(args[2]), args[3].values, args[4].values, k, d, inner);
  }
  void ask() const { (void)function->get(); }
};

std::unique_ptr<Kernel> make_down(const OpCall& call, OpenclDevice& device) {
  const TensorType &x = call.inputs[0], &down = call.inputs[2];
  if (x.shape[0] == 1) return make_kernel(DownOfOne(call, device));
  const DotTile tile = prefill_tile(device, down.shape[1], down.shape[2]);
  Sorter sorter(picks_of(call.inputs[1], down, tile), device);
  const uint32_t parts_at = static_cast<uint32_t>(round_up(sorter.picks.plan_bytes(), 64));
  const size_t parts_bytes = static_cast<size_t>(sorter.picks.capacity * info(x.dtype).row_bytes(down.shape[1]));
  return make_kernel(
      [sorter = std::move(sorter),
       function = tile.function(device, "moe", "moe_down_parts", x.dtype, down.dtype, {"SORTED"}),
       sum = device.function("route.cl", {define("ACT", x.dtype)}, "moe_sum"),
       row_tiles = tiles(row_groups_of(down.shape[1]), tile.row_groups), d = narrow(down.shape[1]),
       inner = narrow(down.shape[2]), parts_at](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const BufferPtr& plan = args[5].values;
        const int32_t max_tiles = sorter.sort(queue, args[1].values, plan, step);
        (*function)(queue, {static_cast<size_t>(max_tiles), row_tiles}, args[0].values, args[2].values,
                    scales_of(args[2]), plan, plan, parts_at, d, inner, max_tiles);
        (*sum)(queue, {tiles(d, kColumns), live_count(step)}, plan, parts_at, args[3].values, args[4].values,
               sorter.picks.k, d);
      },
      parts_at + parts_bytes);
}

std::unique_ptr<Kernel> make_down_parts(const OpCall& call, OpenclDevice& device) {
  const TensorType &x = call.inputs[0], &down = call.inputs[2];
  const DotTile tile = prefill_tile(device, down.shape[1], down.shape[2]);
  Sorter sorter(picks_of(call.inputs[1], down, tile, op_of<MoeDownParts>(call).first), device);
  const size_t scratch = sorter.picks.plan_bytes();
  return make_kernel(
      [sorter = std::move(sorter),
       function = tile.function(device, "moe", "moe_down_parts", x.dtype, down.dtype, {"SORTED"}),
       row_tiles = tiles(row_groups_of(down.shape[1]), tile.row_groups), d = narrow(down.shape[1]),
       inner = narrow(down.shape[2]),
       part = call.inputs.size()](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const BufferPtr& plan = args.back().values;
        const int32_t max_tiles = sorter.sort(queue, args[1].values, plan, step);
        (*function)(queue, {static_cast<size_t>(max_tiles), row_tiles}, args[0].values, args[2].values,
                    scales_of(args[2]), plan, args[part].values, uint32_t{0}, d, inner, max_tiles);
      },
      scratch);
}

Support any_call(const OpCall&, const OpenclDevice&) { return {}; }

std::unique_ptr<Kernel> make_sum(const OpCall& call, OpenclDevice& device) {
  const TensorType& part = call.inputs[0];
  return make_kernel([function = device.function("route.cl", {define("ACT", part.dtype)}, "moe_sum"),
                      k = narrow(part.shape[1]),
                      d = narrow(part.shape[2])](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    (*function)(queue, {tiles(d, kColumns), live_count(step)}, args[0].values, uint32_t{0}, args[1].values,
                args[2].values, k, d);
  });
}

}  // namespace

const LeadEntry kLeadGateUp{lead_gate_up, make_lead_gate_up};
const OpenclEntry kOpenclMoeGateUp{OpKind::kMoeGateUp, "opencl.moe_gate_up", supports_gate_up, make_gate_up};
const OpenclEntry kOpenclMoeDown{OpKind::kMoeDown, "opencl.moe_down", supports_down, make_down};
const OpenclEntry kOpenclMoeDownParts{OpKind::kMoeDownParts, "opencl.moe_down_parts", supports_down, make_down_parts};
const OpenclEntry kOpenclMoeSum{OpKind::kMoeSum, "opencl.moe_sum", any_call, make_sum};

}  // namespace v4rt
