// An operator of one's own in one file: shapes, meaning, cost, a kernel for the processor and one in OpenCL C; and a
// graph of it and two products of v4rt's, which runs on each device named and gives the same bits on all of them.
// custom_op [DEVICE..]

#include "backend/custom_op.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include "backend/registry.h"
#include "graph/ir/builder.h"
#include "graph/runtime/computation.h"
#include "ops/infer.h"
#include "ops/linear/linear.h"
#include "ops/ref_context.h"

namespace {

using namespace v4rt;

// y[t, i] = max(x[t, i], 0)^2 * scale[i]. in: x F32 [T, N], scale F32 [N]. out: F32 [T, N].
class SquaredRelu final : public CustomOp {
 public:
  std::string describe() const override { return "squared_relu{}"; }
  Input input(size_t index) const override { return {.role = index == 0 ? Role::kActivation : Role::kWeight}; }

  std::vector<TensorType> infer(std::span<const TensorType> in) const override {
    expect_inputs("squared_relu", in, 2);
    check(in[0].dtype == DType::kF32 && in[0].shape.rank() == 2, Code::kInvalidArgument, "squared_relu: x is {}",
          to_string(in[0]));
    expect_type("squared_relu", "scale", in[1], {DType::kF32, Shape{in[0].shape[1]}});
    return {in[0]};
  }

  // The definition. Others are held to its bits, so it says in which order numbers are rounded.
  static float value(float x, float scale) {
    const float positive = x > 0 ? x : 0;
    return positive * positive * scale;
  }

  void reference(RefContext& context) const override {
    const int64_t n = context.input(0).shape[1];
    const Floats scale = context.read(1);
    Floats x(static_cast<size_t>(n));
    for (int64_t row = 0; row < context.n_rows(); ++row) {
      context.read(0, row * n, x);
      for (size_t i = 0; i < x.size(); ++i) x[i] = value(x[i], scale[i]);
      context.write(0, row * n, x);
    }
  }

  HostKernel host_kernel(const OpCall& call) const override {
    const int64_t n = call.inputs[0].shape[1];
    const auto run = [n](std::span<const Tensor> args, const Step&, int64_t begin, int64_t end) {
      const auto *x = args[0].data<const float>(), *scale = args[1].data<const float>();
      auto* y = args[2].data<float>();
      for (int64_t i = begin * n; i < end * n; ++i) y[i] = value(x[i], scale[i % n]);
    };
    return {.run = run, .work = static_cast<double>(n)};
  }

  OpenclKernel opencl_kernel(const OpCall& call) const override {
    return {.name = "squared_relu",
            .source = R"(
KERNEL void squared_relu(__global const float* restrict x, __global const float* restrict scale,
                         __global float* restrict y) {
  const size_t row = get_group_id(1) * N;
  for (int i = LANE; i < N; i += GROUP) {
    const float positive = x[row + i] > 0 ? x[row + i] : 0;
    y[row + i] = positive * positive * scale[i];
  }
}
)",
            .definitions = {fmt::format("N={}", call.inputs[0].shape[1])}};
  }

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override {
    const double rows = step.n_rows();
    return {.flops = 2 * rows * static_cast<double>(in[0].shape[1]), .io_bytes = 2 * live_bytes(in[0], rows)};
  }
};

constexpr int64_t kTokens = 8, kWidth = 64, kInner = 160;

Graph feed_forward() {
  Builder g;
  const ValueId x = g.input("x", {DType::kF32, Shape{kTokens, kWidth}});
  const ValueId up = g.add<Linear>("up", {x, g.weight("up", {DType::kF32, Shape{kInner, kWidth}})}, DType::kF32);
  const ValueId inner = g.add<SquaredRelu>("relu", {up, g.weight("scale", {DType::kF32, Shape{kInner}})});
  g.output("y", g.add<Linear>("down", {inner, g.weight("down", {DType::kF32, Shape{kWidth, kInner}})}, DType::kF32));
  return g.take();
}

std::vector<float> numbers(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 1000;
  return values;
}

std::vector<float> result_on(const std::string& device) {
  const std::vector<float> up = numbers(kInner * kWidth, 1), scale = numbers(kInner, 2),
                           down = numbers(kWidth * kInner, 3);
  Computation computation(feed_forward(), {.devices = {create_device(device)}, .rules = {}, .state_devices = {}},
                          [&](std::string_view name) {
                            if (name == "scale")
                              return host_weight({DType::kF32, Shape{kInner}}, std::as_bytes(std::span(scale)));
                            const bool is_up = name == "up";
                            return host_weight({DType::kF32, is_up ? Shape{kInner, kWidth} : Shape{kWidth, kInner}},
                                               std::as_bytes(std::span(is_up ? up : down)));
                          });
  computation.write("x", numbers(kTokens * kWidth, 4));
  const Segment segment{.n_tokens = kTokens};
  computation.run({&segment, 1});
  std::vector<float> y(kTokens * kWidth);
  computation.read("y", y);
  return y;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<float> expected = result_on("reference");
  std::printf("reference: %.6g %.6g %.6g ..\n", expected[0], expected[1], expected[2]);
  bool all_equal = true;
  for (const char* name : std::span(argv + 1, static_cast<size_t>(std::max(argc - 1, 0)))) {
    const bool equal = result_on(name) == expected;
    std::printf("%s: %s\n", name, equal ? "the same bits" : "other bits");
    all_equal &= equal;
  }
  return all_equal ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "custom_op: %s\n", e.what());
  return 1;
}
