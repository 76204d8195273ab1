#include "graph/runtime/computation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/custom_op.h"
#include "backend/registry.h"
#include "graph/ir/builder.h"
#include "ops/attention/attention.h"
#include "ops/linear/linear.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int64_t kTokens = 4, kWidth = 8;
const TensorType kRows{DType::kF32, Shape{kTokens, kWidth}}, kSquare{DType::kF32, Shape{kWidth, kWidth}};

PlaceOptions on(std::initializer_list<const char*> devices) {
  PlaceOptions options;
  for (const char* device : devices) options.devices.push_back(create_device(device));
  return options;
}

const std::vector<float>& twice() {
  static const std::vector<float> w = [] {
    std::vector<float> values(kWidth * kWidth, 0.0f);
    for (int64_t i = 0; i < kWidth; ++i) values[static_cast<size_t>(i * kWidth + i)] = 2;
    return values;
  }();
  return w;
}

WeightView weight(std::string_view) { return host_weight(kSquare, std::as_bytes(std::span(twice()))); }

Graph linear_graph() {
  Builder g;
  g.output("y", g.add<Linear>("twice", {g.input("x", kRows), g.weight("w", kSquare)}, DType::kF32));
  return g.take();
}

class Devices : public testing::TestWithParam<const char*> {};

TEST_P(Devices, WritesRunsAndReads) {
  Computation computation(linear_graph(), on({GetParam()}), weight);
  std::vector<float> x(kTokens * kWidth, 0.0f), y(2 * kWidth);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  computation.write("x", x);
  const Segment two{.slot = 0, .position = 5, .n_tokens = 2};
  computation.run({&two, 1});
  computation.read("y", y);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], 2 * x[i]);
}

// What a run leaves in a state is there in the next, until the states are cleared.
TEST_P(Devices, StatesLast) {
  const RowFormat format{RowFormat::Kind::kF32, static_cast<int>(kWidth), 0};
  const TensorType ring_type{DType::kU8, Shape{2, 4, format.bytes()}};
  Builder g;
  const ValueId ring = g.state("ring", ring_type);
  g.output("old",
           g.add<RingRead>("read", {g.input("ids", {DType::kI32, Shape{kTokens}}), ring}, format, DType::kF32, 1, 4));
  g.add<RingAppend>("append", {g.input("x", kRows), ring}, format);
  Computation computation(g.take(), on({GetParam()}));

  const auto step = [&](int32_t slot, float value) {
    computation.write("x", std::vector<float>(kWidth, value));
    computation.write("ids", std::vector<int32_t>{0});
    const Segment segment{.slot = slot, .position = 1, .n_tokens = 1};
    computation.run({&segment, 1});
    std::vector<float> old(1);
    computation.read("old", old);
    return old[0];
  };
  EXPECT_EQ(step(0, 3), 0);
  EXPECT_EQ(step(1, 5), 0);
  EXPECT_EQ(step(0, 7), 3);
  EXPECT_EQ(step(1, 9), 5);
  EXPECT_THAT([&] { step(2, 1); }, ThrowsMessage<Error>(HasSubstr("no sequence 2: the states are for 2")));
  computation.clear();
  EXPECT_EQ(step(0, 1), 0);
}

TEST_P(Devices, RefusesWhatDoesNotFit) {
  Computation computation(linear_graph(), on({GetParam()}), weight);
  const auto run = [&](Segment segment) { return [&computation, segment] { computation.run({&segment, 1}); }; };
  EXPECT_THAT(run({.n_tokens = kTokens + 1}),
              ThrowsMessage<Error>(HasSubstr("5 tokens, and the graph's inputs have room for 4")));
  EXPECT_THAT(run({.n_tokens = 0}), ThrowsMessage<Error>(HasSubstr("a segment of 0 tokens")));
  EXPECT_THAT(run({.slot = -1, .n_tokens = 1}), ThrowsMessage<Error>(HasSubstr("no sequence -1")));
  EXPECT_THAT([&] { computation.write("z", std::vector<float>(1)); }, ThrowsMessage<Error>(HasSubstr("no input z")));
  EXPECT_THAT([&] { computation.write("x", std::vector<float>(kTokens * kWidth + 1)); },
              ThrowsMessage<Error>(HasSubstr("x has 128 bytes, not 132")));
  std::vector<float> much(kTokens * kWidth + 1);
  EXPECT_THAT([&] { computation.read("y", much); }, ThrowsMessage<Error>(HasSubstr("y has 128 bytes, not 132")));
  EXPECT_THAT([&] { computation.read("x", much); }, ThrowsMessage<Error>(HasSubstr("no output x")));
}

INSTANTIATE_TEST_SUITE_P(Computation, Devices, testing::ValuesIn([] {
                           std::vector<const char*> names{"reference", "cpu"};
                           for (const std::string& backend : built_in_backends())
                             if (backend == "opencl") names.push_back("opencl");
                           return names;
                         }()),
                         [](const auto& info) { return std::string(info.param); });

TEST(ComputationWeights, AreChecked) {
  const auto with = [](const WeightView& view) {
    return [view] { Computation(linear_graph(), on({"cpu"}), [&](std::string_view) { return view; }); };
  };
  const auto bytes = std::as_bytes(std::span(twice()));
  EXPECT_THAT([] { Computation(linear_graph(), on({"cpu"})); },
              ThrowsMessage<Error>(HasSubstr("a weight w, and no weights were given")));
  EXPECT_THAT(with(host_weight({DType::kF32, Shape{kWidth, 4}}, bytes.first(128))),
              ThrowsMessage<Error>(HasSubstr("weight w is f32 [8, 4], the graph expects f32 [8, 8]")));
  EXPECT_THAT(with(host_weight(kSquare, bytes.first(255))),
              ThrowsMessage<Error>(HasSubstr("takes 256 bytes and 0 of scales, not 255")));
}

// y = x + 1, by its meaning alone.
class PlusOne : public CustomOp {
 public:
  std::string describe() const override { return "plus_one{}"; }
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override { return {in[0]}; }
  void reference(RefContext& context) const override {
    Floats x(kWidth);
    for (int64_t row = 0; row < context.n_rows(); ++row) {
      context.read(0, row * kWidth, x);
      for (float& v : x) v += 1;
      context.write(0, row * kWidth, x);
    }
  }

 protected:
  Cost work(std::span<const TensorType>, const Step&) const override { return {}; }
};

Graph plus_one() {
  Builder g;
  g.output("y", g.add<PlusOne>("plus", {g.input("x", kRows)}));
  return g.take();
}

TEST(CustomOps, GoWhereTheyAreTaken) {
  Computation computation(plus_one(), on({"cpu", "reference"}));
  EXPECT_THAT(computation.plan().refusals, ElementsAre(HasSubstr("cpu.custom: plus_one{} has no kernel for the host")));
  computation.write("x", std::vector<float>(kWidth, 2.0f));
  const Segment one{.n_tokens = 1};
  computation.run({&one, 1});
  std::vector<float> y(1);
  computation.read("y", y);
  EXPECT_EQ(y[0], 3);
}

// The same, on OpenCL in two parts of a row.
class InParts final : public PlusOne {
 public:
  OpenclKernel opencl_kernel(const OpCall&) const override {
    return {.name = "plus",
            .source = R"(
KERNEL void plus(__global const float* restrict x, __global float* restrict y) {
  const size_t at = get_group_id(1) * N + get_group_id(0) * (N / 2);
  for (int i = LANE; i < N / 2; i += GROUP) y[at + i] = x[at + i] + 1;
}
)",
            .definitions = {fmt::format("N={}", kWidth)},
            .parts = 2};
  }
};

bool has_opencl() {
  const auto backends = built_in_backends();
  return std::ranges::find(backends, "opencl") != backends.end();
}

TEST(CustomOps, RowsMayBeInParts) {
  if (!has_opencl()) GTEST_SKIP() << "built without OpenCL";
  Builder g;
  g.output("y", g.add<InParts>("plus", {g.input("x", kRows)}));
  Computation computation(g.take(), on({"opencl"}));
  computation.write("x", std::vector<float>(3 * kWidth, 2.0f));
  const Segment three{.n_tokens = 3};
  computation.run({&three, 1});
  std::vector<float> y(3 * kWidth);
  computation.read("y", y);
  EXPECT_EQ(y, std::vector<float>(3 * kWidth, 3.0f));
}

class Unmarked final : public PlusOne {
 public:
  OpenclKernel opencl_kernel(const OpCall&) const override {
    return {.name = "plus", .source = "__kernel void plus() {}", .definitions = {}};
  }
};

TEST(CustomOps, SourcesBeginWithTheirKernel) {
  if (!has_opencl()) GTEST_SKIP() << "built without OpenCL";
  Builder g;
  g.output("y", g.add<Unmarked>("plus", {g.input("x", kRows)}));
  const Graph graph = g.take();
  EXPECT_THAT([&] { Computation(graph, on({"opencl"})); },
              ThrowsMessage<Error>(HasSubstr("no line of its OpenCL source begins with 'KERNEL void plus('")));
}

TEST(CustomOps, AreRefusedWithTheReason) {
  EXPECT_THAT([] { Computation(plus_one(), on({"cpu"})); },
              ThrowsMessage<Error>(HasSubstr("plus_one{} has no kernel for the host")));
}

}  // namespace
}  // namespace v4rt
