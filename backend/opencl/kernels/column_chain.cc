#include "backend/opencl/kernels/column_chain.h"

#include <array>
#include <optional>

#include "backend/opencl/kernel_instances.h"
#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/products.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

// The ops of a launch, nullptr: none such.
struct Chain {
  const OpCall *linear = nullptr, *down = nullptr, *post = nullptr;

  const TensorType& weight() const { return linear->inputs[1]; }
  int64_t columns() const { return weight().shape[0]; }
};

bool same_tile(const DotTile& a, const DotTile& b) { return a.group == b.group && a.options == b.options; }

std::optional<Chain> chain_of(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  if (calls.size() < 2 || !joins_products(calls.first(1), device)) return {};
  Chain chain{.linear = &calls[0].call};
  const auto& linear = op_of<Linear>(*chain.linear);
  if (linear.out != chain.linear->inputs[0].dtype || linear.rows != LiveRows::kTokens) return {};
  const DotTile tile = decode_tile(device, chain.columns(), chain.weight().shape[1]);
  for (size_t i = 1; i < calls.size(); ++i) {
    const auto& [call, makers, after] = calls[i];
    const auto only = [&, &makers = makers](size_t input) {  // that is made here, by the op before
      for (size_t at = 0; at < makers.size(); ++at)
        if (makers[at] != (at == input ? static_cast<int>(i) - 1 : -1)) return false;
      return true;
    };
    if (chain.post != nullptr || !after.empty()) return {};
    if (call.op.kind() == OpKind::kMoeDown && chain.down == nullptr && only(3)) {
      const TensorType& down = call.inputs[2];
      if (!supports_dot(down, device) || !same_tile(tile, decode_tile(device, chain.columns(), down.shape[2])))
        return {};
      chain.down = &call;
    } else if (call.op.kind() == OpKind::kHcPost && only(0)) {
      chain.post = &call;
    } else {
      return {};
    }
  }
  return chain;
}

// A chain without moe_down has the code for it too, so that one program does both of a layer's chains.
constexpr DType kUsualExperts = DType::kFp4;

std::string text_of(const Chain& chain, const DotTile& tile, OpenclDevice& device) {
  const DType experts = chain.down != nullptr ? chain.down->inputs[2].dtype : kUsualExperts;
  const std::string first =
      instance_of(dot_text(device, "linear"), tile.definitions(device, chain.weight().dtype), "_0");
  const std::string second = instance_of(dot_text(device, "moe"), tile.definitions(device, experts), "_1");
  const int64_t columns = 16 * tile.row_groups;
  const std::string post_arguments =
      chain.post == nullptr ? "" : ", __global const act_t* h, __global const float* mix, __global act_t* out";
  const std::string post =
      chain.post == nullptr
          ? ""
          : fmt::format(
                "  hc_post_columns(picks > 0 ? sum : y, h, mix, out, n, 0, tile * {0}, min(tile * {0} + {0}, n));\n",
                columns);
  // Barriers around what is within a condition, as in row_chains.cc.
  return fmt::format(
      "{}{}{}\nKERNEL void columns(__global const act_t* x, __global const uint* w, __global const uchar* scales, "
      "__global act_t* y, int k, int n, __global const act_t* inner, __global const int* ids, __global const uint* "
      "down, __global const uchar* down_scales, __global act_t* sum, int picks, int width{}) {{\n  __local float "
      "shared[{}] __attribute__((aligned(64)));\n  const int tile = get_group_id(0);\n  linear_tile_0(x, w, scales, "
      "(__global uchar*)y, 0, 1, k, n, 1, 0, tile, 0, shared);\n  SYNC_ALL;\n  if (picks > 0) {{ "
      "moe_down_tile_1(inner, ids, down, down_scales, y, sum, picks, n, width, 0, tile, shared); SYNC_ALL; }}\n  "
      "SYNC_ALL;\n{}}}\n",
      first, second, chain.post != nullptr ? kernel_source("hyper.cl").text : "", post_arguments,
      tile.local_bytes / static_cast<int64_t>(sizeof(float)), post);
}

class ColumnsKernel final : public OpenclKernel {
 public:
  ColumnsKernel(const Chain& chain, OpenclDevice& device)
      : tile_(decode_tile(device, chain.columns(), chain.weight().shape[1])),
        k_(narrow(chain.weight().shape[1])),
        n_(narrow(chain.columns())),
        has_post_(chain.post != nullptr) {
    std::vector<std::string> definitions{define("ACT", chain.linear->inputs[0].dtype)};
    if (chain.down != nullptr) {
      picks_ = narrow(chain.down->inputs[0].shape[1]);
      width_ = narrow(chain.down->inputs[2].shape[2]);
    }
    if (has_post_) definitions.push_back(define("M", chain.post->inputs[1].shape[1]));
    function_ = device.function({"columns.cl", text_of(chain, tile_, device)}, definitions, "columns", tile_.group);
  }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    std::array<KernelArgument, 18> list;
    size_t next = 0;
    const auto add = [&](const BufferPtr& buffer) { list[next++] = static_cast<const Buffer*>(buffer.get()); };
    const auto take = [&](size_t n) {
      const auto taken = args.first(n);
      args = args.subspan(n);
      return taken;
    };
    const auto linear = take(3), down = picks_ > 0 ? take(5) : std::span<const Tensor>();
    for (const BufferPtr& buffer : {linear[0].values, linear[1].values, scales_of(linear[1]), linear[2].values})
      add(buffer);
    list[next++] = k_;
    list[next++] = n_;
    if (picks_ > 0) {
      for (const BufferPtr& buffer :
           {down[0].values, down[1].values, down[2].values, scales_of(down[2]), down[4].values})
        add(buffer);
    } else {  // what is not read
      for (int i = 0; i < 5; ++i) add(linear[2].values);
    }
    list[next++] = picks_;
    list[next++] = width_;
    if (has_post_)
      for (const Tensor& tensor : take(4).subspan(1)) add(tensor.values);
    (*function_)(queue, {tiles(row_groups_of(n_), tile_.row_groups), live_count(step)},
                 std::span<const KernelArgument>(list).first(next));
  }

 private:
  DotTile tile_;
  int32_t k_, n_, picks_ = 0, width_ = 0;
  bool has_post_;
  std::unique_ptr<OpenclFunction> function_;
};

}  // namespace

bool follows_product(const OpCall& call) {
  const OpKind kind = call.op.kind();
  return (kind == OpKind::kMoeDown || kind == OpKind::kHcPost) && call.inputs[0].shape[0] == 1;
}

bool joins_columns(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  constexpr size_t kArgumentBytes = 18 * sizeof(cl_int) + 12 * (sizeof(cl_mem) + sizeof(cl_ulong));
  return kArgumentBytes <= device.capabilities().argument_bytes && chain_of(calls, device);
}

std::unique_ptr<Kernel> join_columns(std::span<const JoinedCall> calls, OpenclDevice& device) {
  return std::make_unique<ColumnsKernel>(*chain_of(calls, device), device);
}

}  // namespace v4rt
