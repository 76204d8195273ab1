#include "backend/opencl/kernels/products.h"

#include <algorithm>
#include <array>
#include <set>

#include "backend/opencl/kernel_instances.h"
#include "backend/opencl/kernels/dot.h"
#include "backend/opencl/kernels/tail.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

// Programs take as many, whether there are or not: so few of them do for all layers. V4 has five with one input.
constexpr size_t kMost = 5;
constexpr ArgumentCount kArguments = arguments_of(4 * kMost, 1 + 4 * kMost);

struct Product {
  size_t first_tensor;
  int32_t n, f32_out;
  DType weight;
};

struct Products {
  std::vector<Product> all;
  DotTile tile;
  DType act = DType::kF32;
  int32_t k = 0;
  LiveRows live = LiveRows::kTokens;

  uint32_t groups(const Product& one) const {
    return static_cast<uint32_t>(tiles(row_groups_of(one.n), tile.row_groups));
  }

  // Of the matrices, each once. Those of V4's layers are of two types: one program has the code for both, where there
  // is none of another.
  std::set<DType> types() const {
    const std::set<DType> of_layers{DType::kFp8, DType::kBF16};
    std::set<DType> once;
    for (const Product& one : all) once.insert(one.weight);
    return std::ranges::includes(of_layers, once) ? of_layers : once;
  }
};

bool is_product_of_one_token(const OpCall& call, const OpenclDevice& device) {
  if (call.op.kind() != OpKind::kLinear) return false;
  const auto& op = op_of<Linear>(call);
  const TensorType &x = call.inputs[0], &w = call.inputs[1];
  const bool one_row = op.groups == 1 && x.shape[0] * op.rows_per_token(x, w) == 1;
  return one_row && (op.out == DType::kF32 || op.out == x.dtype) && supports_dot(w, device);
}

// Of none: they are not done by one launch.
Products products_of(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  Products products;
  int64_t rows = 0;
  size_t tensors = 0;
  for (const auto& [call, makers, after] : calls) {
    const bool alone = after.empty() && std::ranges::all_of(makers, [](int maker) { return maker < 0; });
    if (!alone || !is_product_of_one_token(call, device)) return {};
    const TensorType &x = call.inputs[0], &w = call.inputs[1];
    const LiveRows live = op_of<Linear>(call).rows;
    if (!products.all.empty() && (x.dtype != products.act || w.shape[1] != products.k || live != products.live))
      return {};
    products.act = x.dtype;
    products.live = live;
    products.k = narrow(w.shape[1]);
    products.all.push_back({tensors, narrow(w.shape[0]), call.outputs[0].dtype == DType::kF32 ? 1 : 0, w.dtype});
    rows += w.shape[0];
    tensors += call.inputs.size() + call.outputs.size();
  }
  if (products.all.size() > kMost) return {};
  products.tile = decode_tile(device, rows, products.k);
  return products;
}

// For each type of matrices linear_tile, and a kernel that calls that of its work-group's product.
std::string text_of(const Products& products, OpenclDevice& device) {
  const std::string text = dot_text(device, "linear");
  std::string instances, arguments = "int k", choice, calls;
  for (const DType type : products.types()) {
    const std::string suffix = fmt::format("_{}", info(type).name);
    instances += instance_of(text, products.tile.definitions(device, type), suffix);
    // Barriers around each, as those of row_chains.cc.
    calls += fmt::format(
        "  if (type == {}) {{ linear_tile{}(x, w, scales, y, f32_out, 1, k, n, 1, 0, group - begin, 0, shared); "
        "SYNC_ALL; }}\n  SYNC_ALL;\n",
        static_cast<int>(type), suffix);
  }
  for (size_t i = 0; i < kMost; ++i) {
    arguments += fmt::format(
        ", __global const act_t* x_{0}, __global const uint* w_{0}, __global const uchar* scales_{0}, __global uchar* "
        "y_{0}, int f32_out_{0}, int n_{0}, int type_{0}, uint end_{0}",
        i);
    if (i == 0) continue;
    choice += fmt::format(
        "  if (group >= end_{0}) {{ x = x_{1}; w = w_{1}; scales = scales_{1}; y = y_{1}; f32_out = f32_out_{1}; n = "
        "n_{1}; type = type_{1}; begin = end_{0}; }}\n",
        i - 1, i);
  }
  return fmt::format(
      "{}\nKERNEL void products({}) {{\n  __local float shared[{}] __attribute__((aligned(64)));\n  const uint group = "
      "get_group_id(0);\n  __global const act_t* x = x_0;\n  __global const uint* w = w_0;\n  __global const uchar* "
      "scales = scales_0;\n  __global uchar* y = y_0;\n  int f32_out = f32_out_0, n = n_0, type = type_0;\n  uint "
      "begin = 0;\n{}{}}}\n",
      instances, arguments, products.tile.local_bytes / static_cast<int64_t>(sizeof(float)), choice, calls);
}

class ProductsKernel final : public OpenclKernel {
 public:
  ProductsKernel(Products products, OpenclDevice& device, Tail tail = {})
      : products_(std::move(products)), tail_(std::move(tail)), function_([this, &device] {
          const std::string text = text_of(products_, device);
          return tail_.function(device, {"products.cl", text}, {define("ACT", products_.act)}, "products",
                                products_.tile.group);
        }) {}

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    std::array<KernelArgument, 1 + 8 * kMost> list;
    size_t next = 0;
    uint32_t groups = 0;
    list[next++] = products_.k;
    for (size_t i = 0; i < kMost; ++i) {
      const bool exists = i < products_.all.size();  // one that does not has no work-groups
      const Product& one = products_.all[exists ? i : 0];
      const std::span<const Tensor> own = args.subspan(one.first_tensor, 3);
      if (exists) groups += products_.groups(one);
      for (const BufferPtr& buffer : {own[0].values, own[1].values, scales_of(own[1]), own[2].values})
        list[next++] = static_cast<const Buffer*>(buffer.get());
      list[next++] = one.f32_out;
      list[next++] = one.n;
      list[next++] = static_cast<int32_t>(one.weight);
      list[next++] = groups;
    }
    function_.get()(queue, {groups, static_cast<size_t>(live_rows(step, products_.live))},
                    std::span<const KernelArgument>(list), tail_.arguments(queue, args).all());
  }

  void ask_for_programs() const override { (void)function_.get(); }

 private:
  Products products_;
  Tail tail_;
  AskedFunction function_;
};

}  // namespace

bool joins_products(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  return !products_of(calls, device).all.empty() && kArguments.bytes <= device.capabilities().argument_bytes;
}

std::unique_ptr<Kernel> join_products(std::span<const JoinedCall> calls, OpenclDevice& device) {
  return std::make_unique<ProductsKernel>(products_of(calls, device), device);
}

namespace {

std::span<const JoinedCall> products_among(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  size_t n = 0;
  while (n < calls.size() && n < kMost && joins_products(calls.first(n + 1), device)) ++n;
  return calls.first(n);
}

Lead lead(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const std::span<const JoinedCall> led = products_among(calls, device);
  if (led.empty()) return {};
  const Products products = products_of(led, device);
  Lead lead{.ops = led.size(),
            .tensors = 3 * led.size(),
            .group = "group",
            .act = define("ACT", products.act),
            .arguments = kArguments,
            .items = products.tile.group,
            .local_bytes = products.tile.local_bytes};
  uint32_t begin = 0;
  for (const Product& one : products.all) {
    lead.of.push_back({.begin = begin, .stripe_columns = 16 * products.tile.row_groups, .columns = one.n});
    begin += products.groups(one);
  }
  return lead;
}

std::unique_ptr<Kernel> make(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail) {
  return std::make_unique<ProductsKernel>(products_of(products_among(calls, device), device), device, std::move(tail));
}

}  // namespace

const LeadEntry kLeadProducts{lead, make};

}  // namespace v4rt
