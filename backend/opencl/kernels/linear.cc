#include "ops/linear/linear.h"

#include <atomic>
#include <optional>

#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/products.h"
#include "backend/opencl/kernels/tail.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice& device) {
  const DType out = call.outputs[0].dtype;
  if (out != DType::kF32 && out != call.inputs[0].dtype)
    return Support::no(fmt::format("its results are neither f32 nor {}, as x is", info(call.inputs[0].dtype).name));
  return supports_dot(call.inputs[1], device);
}

// An op group that starts within a row group touches one row group more.
size_t row_tiles(int64_t n, int64_t op_groups, const DotTile& tile) {
  return tiles(row_groups_of(n) + (op_groups > 1 && n % 16 != 0 ? 1 : 0), tile.row_groups);
}

struct LinearFunction {
  DotTile tile;
  Tail tail;
  AskedFunction function;

  LinearFunction(const OpCall& call, OpenclDevice& device, const DotTile& of, Tail next = {})
      : tile(of),
        tail(std::move(next)),
        function([this, &device, act = call.inputs[0].dtype, weight = call.inputs[1].dtype] {
          return this->tail.function(device, kernel_source(dot_file(device, "linear")),
                                     std::vector{define("ACT", act)} + tile.definitions(device, weight), "linear",
                                     tile.group);
        }) {}
};

class LinearKernel final : public OpenclKernel {
 public:
  LinearKernel(const OpCall& call, OpenclDevice& device, Tail tail = {})
      : rows_per_token_(op_of<Linear>(call).rows_per_token(call.inputs[0], call.inputs[1])),
        op_groups_(op_of<Linear>(call).groups),
        n_(narrow(call.inputs[1].shape[0] / op_groups_)),
        k_(narrow(call.inputs[1].shape[1])),
        f32_out_(call.outputs[0].dtype == DType::kF32 ? 1 : 0),
        live_(op_of<Linear>(call).rows) {
    const bool many = call.inputs[0].shape[0] * rows_per_token_ > 1;
    if (many) many_.emplace(call, device, prefill_tile(device, n_, k_));
    // One row of many is the rule only after take_last: one token has a plan of its own.
    if (!many || live_ == LiveRows::kSegments)
      single_.emplace(call, device, decode_tile(device, n_, k_), std::move(tail));
    const JoinedCall one{call, {-1, -1}};
    if (device.capabilities().lanes == Lanes::kVector && joins_products({&one, 1}, device))
      as_products_ = join_products({&one, 1}, device);
  }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    if (planned_) return queue.launch(*as_products_, args, step);
    const int32_t rows = narrow(live_rows(step, live_) * rows_per_token_);
    const LinearFunction& f = many_ && (rows > 1 || !single_) ? *many_ : *single_;
    const Grid grid{tiles(rows, f.tile.tokens), row_tiles(n_, op_groups_, f.tile), static_cast<size_t>(op_groups_)};
    f.function.get()(queue, grid, args[0].values, args[1].values, scales_of(args[1]), args[2].values, f32_out_, rows,
                     k_, n_, op_groups_, f.tail.arguments(queue, args).all());
  }

  void ask_for_programs() const override {
    if (as_products_ != nullptr) {
      static_cast<const OpenclKernel&>(*as_products_).ask_for_programs();
      planned_ = true;
      return;
    }
    for (const auto* one : {&single_, &many_})
      if (*one) (void)(*one)->function.get();
  }

 private:
  int64_t rows_per_token_;
  int32_t op_groups_, n_, k_, f32_out_;
  LiveRows live_;
  std::optional<LinearFunction> single_, many_;
  // In a plan, by the program of several products, which is there; with vector lanes that takes no longer.
  std::unique_ptr<Kernel> as_products_;
  mutable std::atomic<bool> planned_ = false;
};

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  return std::make_unique<LinearKernel>(call, device);
}

// Of one token, by a product that does not go beside others.
Lead lead(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const OpCall& call = calls[0].call;
  if (call.op.kind() != OpKind::kLinear || !supports(call, device)) return {};
  const auto& op = op_of<Linear>(call);
  const TensorType &x = call.inputs[0], &w = call.inputs[1];
  if (x.shape[0] * op.rows_per_token(x, w) != 1) return {};
  const int64_t n = w.shape[0] / op.groups;
  const DotTile tile = decode_tile(device, n, w.shape[1]);
  const auto groups = static_cast<uint32_t>(row_tiles(n, op.groups, tile) * static_cast<size_t>(op.groups));
  return {.ops = 1,
          .tensors = 3,
          .group = "get_group_id(1) + get_num_groups(1) * get_group_id(2)",
          .of = {{.stripe_groups = groups}},
          .act = define("ACT", x.dtype),
          .arguments = arguments_of(4, 5),
          .items = tile.group,
          .local_bytes = tile.local_bytes};
}

std::unique_ptr<Kernel> make_lead(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail) {
  return std::make_unique<LinearKernel>(calls[0].call, device, std::move(tail));
}

}  // namespace

const LeadEntry kLeadLinear{lead, make_lead};
const OpenclEntry kOpenclLinear{OpKind::kLinear, "opencl.linear", supports, make};

}  // namespace v4rt
