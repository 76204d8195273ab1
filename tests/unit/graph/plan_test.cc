#include "graph/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "alloc_count.h"
#include "fakes.h"
#include "graph/plan/compile.h"
#include "graph/plan/executor.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

using fakes::f32;
using fakes::FakeDevice;
using ::testing::ElementsAre;

constexpr int64_t kWidth = 24;  // 96 bytes: not a multiple of the alignment

// A plan with its own memory, on fake devices.
class Bench {
 public:
  Bench(const Graph& graph, const PlaceOptions& options) : plan_(compile(graph, options)) {
    for (size_t i = 0; i < plan_.devices.size(); ++i) {
      queues_.push_back(plan_.devices[i]->create_queue());
      arenas_.push_back(plan_.arena_bytes[i] > 0 ? plan_.devices[i]->allocate(plan_.arena_bytes[i]) : nullptr);
    }
    executor_ =
        std::make_unique<Executor>(plan_, Bindings{queues_, arenas_, [this](const Slot& slot) { return bind(slot); }});
  }

  void write(const std::string& name, std::span<const float> values) {
    for (const auto& [key, tensor] : bound_) {
      if (key.first == name) queues_[static_cast<size_t>(key.second)]->upload(*tensor.values, 0, std::as_bytes(values));
    }
  }
  void run() { executor_->run(step_); }
  std::vector<float> read(size_t output) {
    const Slot& slot = plan_.slots[static_cast<size_t>(plan_.outputs[output].second)];
    std::vector<float> values(static_cast<size_t>(slot.type.shape.elements()));
    const Tensor& tensor = executor_->tensor(plan_.outputs[output].second);
    queues_[static_cast<size_t>(slot.device)]->download(std::as_writable_bytes(std::span(values)), *tensor.values, 0);
    return values;
  }
  const Plan& plan() const { return plan_; }
  Queue& queue(size_t device) { return *queues_[device]; }

 private:
  Tensor bind(const Slot& slot) {
    const auto [it, is_new] = bound_.try_emplace({slot.name, slot.device});
    if (is_new)
      it->second = {slot.type, plan_.devices[static_cast<size_t>(slot.device)]->allocate(slot.type.bytes()), nullptr};
    return it->second;
  }

  static constexpr Segment kSegment{0, 0, 1};
  static constexpr Row kRow{0, 0, 0, 1};
  Step step_{{&kSegment, 1}, {&kRow, 1}};
  Plan plan_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<BufferPtr> arenas_;
  std::map<std::pair<std::string, int>, Tensor> bound_;
  std::unique_ptr<Executor> executor_;
};

struct Devices {
  std::shared_ptr<FakeDevice> a = std::make_shared<FakeDevice>("a"), b = std::make_shared<FakeDevice>("b");
  PlaceOptions options(std::vector<PlaceRule> rules = {}) const {
    return {.devices = {a, b}, .rules = std::move(rules), .state_devices = {}};
  }
};

Graph chain(int length) {
  Builder g;
  ValueId x = g.input("x", f32(kWidth));
  for (int i = 0; i < length; ++i) x = g.emit(fmt::format("n{}", i), fakes::mix(), {x}).front();
  g.output("y", x);
  return g.take();
}

TEST(Compile, ReusesTheArenaAlongAChain) {
  const Devices d;
  const Plan plan = compile(chain(10), d.options());
  EXPECT_EQ(plan.steps.size(), 10u);
  EXPECT_THAT(plan.arena_bytes, ElementsAre(256, 0));  // two values of 96 bytes, aligned to 64: 0 and 128
  EXPECT_EQ(plan.slots[static_cast<size_t>(plan.outputs[0].second)].storage, Storage::kIo);
  EXPECT_EQ(plan.inputs.size(), 1u);
}

TEST(Compile, PlansScratchOfOneLaunch) {
  const Devices d;
  d.a->scratch = 100;
  const Plan plan = compile(chain(3), d.options());
  const auto& launch = std::get<Launch>(plan.steps[1]);
  ASSERT_EQ(launch.args.size(), 3u);
  const Slot& scratch = plan.slots[static_cast<size_t>(launch.args[2])];
  EXPECT_EQ(scratch.type, (TensorType{.dtype = DType::kU8, .shape = {100}}));
  EXPECT_EQ(plan.arena_bytes[0], 384u);  // two values and one scratch at a time
  EXPECT_EQ(launch.n_inputs, 1);
}

TEST(Compile, InputsThatTwoDevicesReadHaveASlotOnEach) {
  Builder g;
  const ValueId x = g.input("x", f32(kWidth));
  const ValueId one = g.emit("one", fakes::mix(), {x}).front();
  g.output("y", g.emit("two", fakes::mix(), {x, one}).front());
  const Devices d;
  const Plan plan = compile(g.take(), d.options({{"two", 1}}));
  ASSERT_EQ(plan.inputs.size(), 2u);
  EXPECT_EQ(plan.inputs[0].first, plan.inputs[1].first);
  ASSERT_EQ(plan.steps.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<Transfer>(plan.steps[1]));
}

TEST(Compile, RepackedWeightsBecomeRebinds) {
  Builder g;
  const ValueId x = g.input("x", {.dtype = DType::kF32, .shape = {2, 32}});
  g.output("y", g.add<Linear>("y", {x, g.weight("w", {.dtype = DType::kBF16, .shape = {16, 32}})}, DType::kF32));
  const Devices d;
  d.a->wanted = Layout::kRows16;
  const Plan plan = compile(g.take(), d.options());
  EXPECT_EQ(plan.steps.size(), 1u);
  ASSERT_EQ(plan.rebinds.size(), 1u);
  const Slot& slot = plan.slots[static_cast<size_t>(plan.rebinds[0].slot)];
  EXPECT_EQ(slot.name, "w");
  EXPECT_EQ(slot.storage, Storage::kWeight);
  EXPECT_EQ(slot.type.layout, Layout::kRows16);
  EXPECT_EQ(plan.rebinds[0].op->kind(), OpKind::kRepack);
  EXPECT_EQ(std::get<Launch>(plan.steps[0]).args[1], plan.rebinds[0].slot);
}

// Values and scales of a quantised intermediate: both planes are planned and both travel.
TEST(Compile, PlansAndCarriesScalePlanes) {
  const TensorType quantised{.dtype = DType::kFp4, .shape = {2, 64}};
  const auto quantise = std::make_shared<fakes::FakeOp>(
      "quantise", [=](std::span<const TensorType>) { return std::vector<TensorType>{quantised}; },
      [](RefContext& c) {
        std::memset(c.out_tensor(0).values->host(), 0x22, 64);  // 1.0 each
        std::memset(c.out_tensor(0).scales->host(), 128, 4);    // times 2
      });
  const auto widen = std::make_shared<fakes::FakeOp>(
      "widen", [](std::span<const TensorType>) { return std::vector<TensorType>{f32(128)}; },
      [](RefContext& c) { c.write(0, 0, c.read(0)); });
  Builder g;
  const ValueId q = g.emit("quantise", quantise, {g.input("x", f32(1))}).front();
  g.output("near", g.emit("near", widen, {q}).front());
  g.output("far", g.emit("far", widen, {q}).front());
  const Devices d;
  Bench bench(g.take(), d.options({{"far", 1}}));
  EXPECT_THAT(bench.plan().arena_bytes, ElementsAre(128, 128));  // 64 bytes of values, 4 of scales, aligned
  bench.run();
  EXPECT_EQ(bench.read(0), std::vector<float>(128, 2.0f));
  EXPECT_EQ(bench.read(1), std::vector<float>(128, 2.0f));
}

// A value that another device overwrote comes back into new memory: the old content stays where it is.
TEST(Compile, AnOverwrittenValueComesBackToAnotherPlace) {
  Builder g;
  const ValueId v = g.emit("make", fakes::mix(), {g.input("x", f32(kWidth))}).front();
  const ValueId w = g.emit("overwrite", fakes::mix_into(), {v}).front();
  g.output("y", g.emit("read", fakes::mix(), {w}).front());
  const Devices d;
  const Plan plan = compile(g.take(), d.options({{"overwrite", 1}}));
  ASSERT_EQ(plan.steps.size(), 5u);
  const auto &there = std::get<Transfer>(plan.steps[1]), &back = std::get<Transfer>(plan.steps[3]);
  EXPECT_EQ(there.to, back.from);  // in place on b
  EXPECT_NE(there.from, back.to);
}

TEST(Executor, BeginsOncePerDeviceAndCarriesValuesAcross) {
  const Devices d;
  Bench bench(chain(3), d.options({{"n1", 1}}));
  const std::vector<float> x(kWidth, 1);
  bench.write("x", x);
  d.a->logging = d.b->logging = true;
  bench.run();
  EXPECT_THAT(d.a->log, ElementsAre("begin", "launch mix", "download 96", "upload 96", "launch mix"));
  EXPECT_THAT(d.b->log, ElementsAre("begin", "upload 96", "launch mix", "download 96"));
  EXPECT_EQ(bench.read(0), std::vector<float>(kWidth, 0.5f + 0.5f + 0.5f + 1));
}

// What the lazy device makes is fetched when it is read, and no earlier: the other one has worked in the meantime.
TEST(Executor, TransfersGoOnWhileTheOtherDeviceWorks) {
  Builder g;
  const ValueId x = g.input("x", f32(kWidth));
  const ValueId far = g.emit("far", fakes::mix(), {x}).front();
  const ValueId near = g.emit("near", fakes::mix(3), {x}).front();
  g.output("y", g.emit("both", fakes::mix(), {far, near}).front());
  Devices d;
  d.b = std::make_shared<fakes::LazyDevice>("b");
  Bench bench(g.take(), d.options({{"far", 1}}));
  EXPECT_THAT(std::get<Launch>(bench.plan().steps[0]).node, "far");
  EXPECT_TRUE(std::holds_alternative<Transfer>(bench.plan().steps[1]));
  bench.write("x", std::vector<float>(kWidth, 1));
  auto log = std::make_shared<std::vector<std::string>>();
  d.a->log = d.b->log = {};
  d.a->logging = d.b->logging = true;
  d.a->also = d.b->also = log;
  bench.run();
  EXPECT_THAT(*log, ElementsAre("a begin", "a launch mix", "b upload 96", "b launch mix", "b download 96",
                                "a upload 96", "a launch mix"));
  EXPECT_EQ(bench.read(0), std::vector<float>(kWidth, 0.5f * (0.5f + 1.5f) + 2.5f));
}

TEST(Executor, AllocatesNothingWhileRunning) {
  const Devices d;
  Bench bench(chain(40), d.options({{"n?", 1}}));
  for (size_t device : {0, 1}) static_cast<fakes::FakeQueue&>(bench.queue(device)).quiet = true;
  bench.run();
  const AllocationCount count;
  bench.run();
  EXPECT_EQ(count.since(), 0);
}

// Random graphs with in-place ops, states and two-output ops on random devices give the same as a direct evaluation,
// although their values share arenas: nothing is overwritten while it is still needed.
// The same where a device, or both, work only when they are waited for.
class RandomGraphs : public ::testing::TestWithParam<unsigned> {
 protected:
  int pick(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  Graph make() {
    Builder g;
    std::vector<ValueId> live{g.input("x", f32(kWidth)), g.input("y", f32(kWidth)), g.weight("w", f32(kWidth))};
    std::vector<ValueId> owned;  // may be overwritten: each is in `live` too
    for (int s = 0; s < 2; ++s) owned.push_back(live.emplace_back(g.state(fmt::format("s{}", s), f32(kWidth))));
    for (int n = 0; n < 30; ++n) {
      const std::string name = fmt::format("n{}", n);
      const auto any = [&] { return live[static_cast<size_t>(pick(0, static_cast<int>(live.size()) - 1))]; };
      if (pick(0, 3) == 0) {  // overwrite: the old version is gone
        const size_t at = static_cast<size_t>(pick(0, static_cast<int>(owned.size()) - 1));
        const ValueId old = owned[at], second = any();
        const ValueId made = g.emit(name, fakes::mix_into(static_cast<float>(n)), {old, second}).front();
        std::replace(live.begin(), live.end(), old, made);
        owned[at] = made;
      } else {
        const bool two = pick(0, 2) == 0;
        const ValueId made =
            g.emit(name, two ? fakes::split() : fakes::mix(static_cast<float>(n)), {any(), any()}).front();
        owned.push_back(live.emplace_back(made));
      }
    }
    for (size_t i = 0; i < owned.size(); i += 3) {
      if (g.type(owned[i]) == f32(kWidth)) g.output(fmt::format("out{}", i), owned[i]);
    }
    return g.take();
  }

  // Every value in memory of its own.
  static std::vector<std::vector<float>> evaluate(const Graph& graph,
                                                  const std::map<std::string, std::vector<float>>& bound) {
    std::vector<std::vector<float>> values(graph.values.size());
    const auto tensor = [&](ValueId id) {
      std::vector<float>& v = values[static_cast<size_t>(id)];
      v.resize(static_cast<size_t>(graph.value(id).type.shape.elements()));
      const std::shared_ptr<std::byte[]> memory(reinterpret_cast<std::byte*>(v.data()), [](std::byte*) {});
      return Tensor{graph.value(id).type, std::make_shared<fakes::FakeBuffer>(memory, 0, v.size() * 4, true), nullptr};
    };
    for (size_t i = 0; i < values.size(); ++i) {
      if (graph.values[i].origin != Origin::kNode) values[i] = bound.at(graph.values[i].name);
    }
    for (const Node& node : graph.nodes) {
      std::vector<Tensor> in, out;
      for (const ValueId v : node.in) in.push_back(tensor(v));
      for (const ValueId v : node.out) out.push_back(tensor(v));
      RefContext context(in, out, Step{});
      node.op->reference(context);
    }
    std::vector<std::vector<float>> outputs;
    for (const Output& output : graph.outputs) outputs.push_back(values[static_cast<size_t>(output.value)]);
    return outputs;
  }

  std::mt19937 random_{GetParam()};
};

TEST_P(RandomGraphs, SharedMemoryChangesNothing) {
  const Graph graph = make();
  Devices d;
  if (GetParam() % 3 > 0) d.b = std::make_shared<fakes::LazyDevice>("b");
  if (GetParam() % 3 > 1) d.a = std::make_shared<fakes::LazyDevice>("a");
  if (GetParam() % 3 == 0 && GetParam() % 2 == 0) d.a = std::make_shared<fakes::JoiningFake>("a");
  d.a->scratch = 40;
  d.b->info_.alignment = 128;
  std::vector<PlaceRule> rules;
  for (int n = 0; n < 30; ++n) {
    if (pick(0, 1) == 0) rules.push_back({fmt::format("n{}", n), 1});
  }
  Bench bench(graph, d.options(rules));
  std::map<std::string, std::vector<float>> bound;
  float seed = 0;
  for (const char* name : {"x", "y", "w", "s0", "s1"}) {
    for (int64_t i = 0; i < kWidth; ++i) bound[name].push_back(seed += 0.25f);
    bench.write(name, bound[name]);
  }
  const auto expected = evaluate(graph, bound);
  bench.run();
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(bench.read(i), expected[i]) << graph.outputs[i].name;
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraphs, ::testing::Range(0u, 60u));

// r1 and r2 wait for what is in place, and then go together with what they lead to.
TEST(Joins, OneLaunchDoesWhatOthersDoOneByOne) {
  Builder g;
  const ValueId x = g.input("x", f32(kWidth));
  const ValueId r1 = g.emit("r1", fakes::mix(1), {x}).front();
  const ValueId place = g.emit("place", fakes::mix_into(), {g.state("s", f32(kWidth)), x}).front();
  const ValueId r2 = g.emit("r2", fakes::mix(3), {x}).front();
  const ValueId last = g.emit("last", fakes::mix(4), {r1, r2, place}).front();
  g.output("out", last);
  const Graph graph = g.take();
  Devices apart, together;
  const auto device = std::make_shared<fakes::JoiningFake>("a");
  together.a = device;
  Bench one_by_one(graph, apart.options()), joined(graph, together.options());
  const std::vector<float> values(kWidth, 2);
  for (Bench* bench : {&one_by_one, &joined})
    for (const char* name : {"x", "s"}) bench->write(name, values);
  device->logging = true;
  one_by_one.run();
  joined.run();
  EXPECT_EQ(joined.read(0), one_by_one.read(0));
  EXPECT_THAT(device->log, ElementsAre("begin", "launch mix_into", "launch mix + mix + mix", "download 96"));

  const Plan& plan = joined.plan();
  ASSERT_EQ(plan.joins.size(), 1u);
  EXPECT_EQ(nodes_of(plan, plan.joins[0]), "r1 + r2 + last");
  EXPECT_EQ(plan.joins[0].kernel->name, "a.mix + a.mix + a.mix");
  EXPECT_EQ(join_of(plan, 0), nullptr);
  EXPECT_EQ(join_of(plan, 3), &plan.joins[0]);
  const auto rows = explain(plan, {});
  EXPECT_EQ(rows[1].joined, "");
  EXPECT_EQ(rows[2].joined, "r1");
}

// What one op overwrites and another uses is told to the device, which here has no order for its ops.
TEST(Joins, WhatIsOverwrittenIsUsedByOneOp) {
  Builder g;
  const ValueId x = g.input("x", f32(kWidth));
  const ValueId made = g.emit("made", fakes::mix(1), {x}).front();
  g.output("read", g.emit("reader", fakes::mix(2), {made}).front());
  const ValueId state = g.state("s", f32(kWidth));
  g.output("mine", g.emit("writer", fakes::mix_into(), {made, x}).front());
  g.output("first", g.emit("first", fakes::mix(3), {state}).front());
  g.output("second", g.emit("second", fakes::mix(4), {state}).front());
  g.output("kept", g.emit("keeper", fakes::mix_into(), {state, x}).front());
  Devices d;
  const auto device = std::make_shared<fakes::JoiningFake>("a");
  device->any = true;
  d.a = device;
  const Plan plan = compile(g.take(), d.options());
  for (const auto& [alone, user] : {std::pair("writer", "reader"), {"keeper", "first"}, {"keeper", "second"}}) {
    for (const Join& join : plan.joins)
      EXPECT_FALSE(nodes_of(plan, join).find(alone) != std::string::npos &&
                   nodes_of(plan, join).find(user) != std::string::npos)
          << nodes_of(plan, join);
  }
  EXPECT_FALSE(plan.joins.empty());
  std::vector<const Kernel*> alone;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    if (join_of(plan, i) == nullptr) alone.push_back(std::get<Launch>(plan.steps[i]).kernel.get());
  EXPECT_THAT(device->alone, ::testing::ElementsAreArray(alone));
}

TEST(Explain, HasARowPerStep) {
  const Devices d;
  const Plan plan = compile(chain(2), d.options({{"n1", 1}}));
  const Segment segment{0, 0, 3};
  const std::vector<Row> rows(3);
  const auto table = explain(plan, {{&segment, 1}, rows});
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table[0].node, "n0");
  EXPECT_EQ(table[0].op, "mix");
  EXPECT_EQ(table[0].kernel, "a.mix");
  EXPECT_EQ(table[0].flops, 3);
  EXPECT_EQ(table[1].op, "transfer");
  EXPECT_EQ(table[1].device, "a -> b");
  EXPECT_EQ(table[1].io_bytes, 96);
  EXPECT_EQ(table[2].device, "b");
}

}  // namespace
}  // namespace v4rt
