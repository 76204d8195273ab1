#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "fakes.h"
#include "graph/passes/layouts.h"
#include "graph/passes/memory_plan.h"
#include "graph/passes/place.h"
#include "graph/passes/schedule.h"
#include "graph/passes/transfers.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

using fakes::f32;
using fakes::FakeDevice;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Devices {
  std::shared_ptr<FakeDevice> a = std::make_shared<FakeDevice>("a"), b = std::make_shared<FakeDevice>("b"),
                              c = std::make_shared<FakeDevice>("c");
  PlaceOptions options(std::vector<PlaceRule> rules = {}) const {
    return {.devices = {a, b, c}, .rules = std::move(rules), .state_devices = {}};
  }
};

std::vector<int> devices_of(const Placed& placed) {
  std::vector<int> devices;
  for (const Choice& choice : placed.choices) devices.push_back(choice.device);
  return devices;
}

// A graph whose nodes run on these devices.
Placed placed(Graph graph, const std::vector<int>& devices) {
  Placed p{.graph = std::move(graph), .choices = {}, .refusals = {}};
  for (const int device : devices) p.choices.push_back({.device = device});
  return p;
}

// one -> two -> three
Graph chain() {
  Builder g;
  ValueId x = g.input("x", f32(4));
  x = g.emit("one", fakes::mix(), {x}).front();
  x = g.emit("two", fakes::split(), {x}).front();
  x = g.emit("three", fakes::mix(), {x}).front();
  g.output("y", x);
  return g.take();
}

// read(s); write(s) -> s'; read2(s')
Graph with_state() {
  Builder g;
  const ValueId x = g.input("x", f32(4));
  const ValueId s = g.state("s", f32(4));
  const ValueId r = g.emit("read", fakes::mix(), {x, s}).front();
  const ValueId s1 = g.emit("write", fakes::mix_into(), {s, r}).front();
  const ValueId other = g.emit("other", fakes::split(), {r}).front();
  g.output("y", g.emit("read2", fakes::mix(), {other, s1}).front());
  return g.take();
}

TEST(Place, DefaultThenFirstMatchingRule) {
  const Devices d;
  EXPECT_THAT(devices_of(place(chain(), d.options())), ElementsAre(0, 0, 0));
  EXPECT_THAT(devices_of(place(chain(), d.options({{"t*", 1}, {"two", 2}}))), ElementsAre(0, 1, 1));
  EXPECT_THAT(devices_of(place(chain(), d.options({{"two", 2}, {"t*", 1}}))), ElementsAre(0, 2, 1));
}

TEST(Place, RefusalTriesNextRuleThenDefaultThenOthers) {
  const Devices d;
  const auto no_split = [](const OpCall& call) { return fakes::refuse(call, "split", "no splits here"); };
  d.c->accept = no_split;
  Placed p = place(chain(), d.options({{"two", 2}, {"*", 1}}));
  EXPECT_THAT(devices_of(p), ElementsAre(1, 1, 1));
  EXPECT_THAT(p.refusals, ElementsAre("c refuses two: no splits here; placed on b"));

  d.b->accept = no_split;
  p = place(chain(), d.options({{"two", 2}, {"t*", 1}}));
  EXPECT_THAT(devices_of(p), ElementsAre(0, 0, 1));
  EXPECT_EQ(p.refusals.size(), 2u);

  d.a->accept = no_split;
  d.c->accept = [](const OpCall&) { return Support{}; };
  p = place(chain(), d.options());
  EXPECT_THAT(devices_of(p), ElementsAre(0, 2, 0));
  EXPECT_THAT(p.refusals,
              ElementsAre("a refuses two: no splits here; placed on c", "b refuses two: no splits here; placed on c"));
}

TEST(Place, ListsEveryReasonWhenNoDeviceTakesANode) {
  const Devices d;
  for (const auto& device : {d.a, d.b, d.c}) {
    device->accept = [name = device->info().name](const OpCall& call) {
      return fakes::refuse(call, "split", "not on " + name);
    };
  }
  try {
    place(chain(), d.options());
    FAIL() << "placed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kUnsupported);
    for (const char* reason : {"a refuses two: not on a", "b refuses two: not on b", "c refuses two: not on c"}) {
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
  }
}

TEST(Place, UsersOfAStateStayTogether) {
  const Devices d;
  EXPECT_THAT(devices_of(place(with_state(), d.options({{"write", 1}}))), ElementsAre(1, 1, 0, 1));
  d.b->accept = [](const OpCall& call) { return fakes::refuse(call, "mix_into", "read only"); };
  const Placed p = place(with_state(), d.options({{"read2", 1}}));
  EXPECT_THAT(devices_of(p), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(p.refusals, ElementsAre("b refuses write: read only; placed on a"));
}

TEST(Place, KeepsStatesWhereAnEarlierPlanPutThem) {
  const Devices d;
  PlaceOptions options = d.options({{"*", 1}});
  options.state_devices = {{"s", 2}};
  EXPECT_THAT(devices_of(place(with_state(), options)), ElementsAre(2, 2, 1, 2));
  d.c->accept = [](const OpCall& call) { return fakes::refuse(call, "mix_into", "read only"); };
  EXPECT_THROW(place(with_state(), options), Error);
}

TEST(Place, RefusesRulesForDevicesThatAreNotThere) {
  const Devices d;
  EXPECT_THROW(place(chain(), d.options({{"*", 3}})), Error);
  EXPECT_THROW(place(chain(), PlaceOptions{}), Error);
}

// Two products with one weight, and one with another.
Graph products() {
  Builder g;
  const ValueId x = g.input("x", {.dtype = DType::kF32, .shape = {2, 32}});
  const ValueId w = g.weight("w", {.dtype = DType::kBF16, .shape = {16, 32}});
  const ValueId v = g.weight("v", {.dtype = DType::kBF16, .shape = {16, 32}});
  g.output("a", g.add<Linear>("a", {x, w}, DType::kF32));
  g.output("b", g.add<Linear>("b", {x, w}, DType::kF32));
  g.output("c", g.add<Linear>("c", {x, v}, DType::kF32));
  return g.take();
}

TEST(Layouts, RepacksEachWeightOncePerDevice) {
  const Devices d;
  d.a->wanted = Layout::kRows16;
  const PlaceOptions options = d.options();
  const Placed p = choose_layouts(place(products(), options), options.devices);
  const Graph& g = p.graph;
  EXPECT_NO_THROW(verify(g));
  ASSERT_EQ(g.nodes.size(), 5u);
  EXPECT_EQ(p.choices.size(), 5u);
  EXPECT_EQ(g.nodes[0].name, "w.repack@a");
  EXPECT_TRUE(runs_at_bind(g, g.nodes[0]));
  EXPECT_FALSE(runs_at_bind(g, g.nodes[1]));
  EXPECT_EQ(g.nodes[1].in[1], g.nodes[0].out[0]);
  EXPECT_EQ(g.nodes[2].in[1], g.nodes[0].out[0]);
  EXPECT_EQ(g.value(g.nodes[4].in[1]).type.layout, Layout::kRows16);
}

TEST(Layouts, OneRepackForEachDeviceThatWantsIt) {
  const Devices d;
  d.a->wanted = d.b->wanted = Layout::kRows16;
  const PlaceOptions options = d.options({{"b", 1}, {"c", 2}});
  const Placed p = choose_layouts(place(products(), options), options.devices);
  const Graph& g = p.graph;
  ASSERT_EQ(g.nodes.size(), 5u);
  EXPECT_THAT(devices_of(p), ElementsAre(0, 0, 1, 1, 2));
  EXPECT_EQ(g.value(g.nodes[4].in[1]).origin, Origin::kWeight);
}

TEST(Layouts, StayWhenTheDeviceCannotUseOrMakeTheLayout) {
  const Devices d;
  d.a->wanted = Layout::kRows16;
  const auto lowered = [&] {
    const PlaceOptions options = d.options();
    const Placed p = place(products(), options);
    EXPECT_THAT(devices_of(p), ElementsAre(0, 0, 0));
    EXPECT_THAT(p.refusals, IsEmpty());
    return choose_layouts(p, options.devices).graph.nodes.size();
  };
  d.a->accept = [](const OpCall& call) {
    const bool packed = call.op.kind() == OpKind::kLinear && call.inputs[1].layout == Layout::kRows16;
    return packed ? Support::no("rows only") : Support{};
  };
  EXPECT_EQ(lowered(), 3u);
  d.a->accept = [](const OpCall& call) {
    return call.op.kind() == OpKind::kRepack ? Support::no("no repack") : Support{};
  };
  EXPECT_EQ(lowered(), 3u);
}

// The experts of one layer: stacks of 8 matrices of 64 x 32 f32, 8 KiB each.
Graph experts() {
  Builder g;
  const ValueId x = g.input("x", {.dtype = DType::kF32, .shape = {2, 32}});
  const ValueId ids = g.input("ids", {.dtype = DType::kI32, .shape = {2, 3}});
  const ValueId weights = g.input("weights", {.dtype = DType::kF32, .shape = {2, 3}});
  const TensorType in{.dtype = DType::kF32, .shape = {8, 64, 32}}, out{.dtype = DType::kF32, .shape = {8, 32, 64}};
  const ValueId hidden = g.add<MoeGateUp>("up", {x, ids, weights, g.weight("w1", in), g.weight("w3", in)}, 0.0f);
  g.output("y", g.add<MoeDown>("down", {hidden, ids, g.weight("w2", out), x}));
  return g.take();
}

TEST(Expand, CutsStacksThatAreLargerThanOneBuffer) {
  const Devices d;
  d.a->info_.max_allocation = 3 * 8192 + 100;
  const Placed p = place(experts(), d.options());
  EXPECT_NO_THROW(verify(p.graph));
  EXPECT_THAT(devices_of(p), ElementsAre(0, 0, 0, 0, 0, 0, 0));
  std::vector<std::string> names;
  for (const Node& node : p.graph.nodes) names.push_back(node.name + " " + node.op->describe());
  EXPECT_THAT(names, ElementsAre("up.0 moe_gate_up{limit=0}", "up.1 moe_gate_up{limit=0,first=3}",
                                 "up.2 moe_gate_up{limit=0,first=6}", "down.0 moe_down_parts",
                                 "down.1 moe_down_parts{first=3}", "down.2 moe_down_parts{first=6}", "down.3 moe_sum"));
  const Value& last = p.graph.value(p.graph.nodes[2].in[4]);
  EXPECT_EQ(last.name, "w3");
  EXPECT_EQ(last.range, (WeightRange{6, 2}));
  EXPECT_EQ(last.type.shape, (Shape{2, 64, 32}));
  EXPECT_EQ(p.graph.value(p.graph.outputs[0].value).node, 6);
  EXPECT_THAT(p.refusals, IsEmpty());
}

TEST(Expand, NotWhereTheWholeFits) {
  const Devices d;
  d.a->info_.max_allocation = 8 * 8192;
  EXPECT_EQ(place(experts(), d.options()).graph.nodes.size(), 2u);
}

TEST(Expand, ADeviceThatCannotHoldOneExpertRefusesWithTheFact) {
  const Devices d;
  d.a->info_.max_allocation = 8191;
  const Placed p = place(experts(), d.options());
  EXPECT_THAT(devices_of(p), ElementsAre(1, 1));
  EXPECT_THAT(
      p.refusals[0],
      HasSubstr(
          "a refuses up: its weight f32 [8, 64, 32] takes 64.0 KiB, and one buffer may have 8.00 KiB; placed on b"));
}

TEST(Expand, APartThatIsRefusedLeavesTheWholeRefused) {
  const Devices d;
  d.a->info_.max_allocation = 3 * 8192;
  d.a->accept = [](const OpCall& call) { return fakes::refuse(call, "moe_sum", "no sums"); };
  EXPECT_THAT(devices_of(place(experts(), d.options())), ElementsAre(0, 0, 0, 1));
}

TEST(Transfers, OnePerValueAndDestination) {
  Builder b;
  const ValueId x = b.input("x", f32(4));
  const ValueId w = b.weight("w", f32(4));
  const ValueId a = b.emit("a", fakes::mix(), {x}).front();
  b.emit("r1", fakes::mix(), {a, x, w});
  b.emit("r2", fakes::mix(), {a, a});
  b.emit("r3", fakes::mix(), {a});
  b.emit("r4", fakes::mix(), {a});
  const Graph g = b.take();
  EXPECT_THAT(find_crossings(placed(g, {0, 1, 1, 0, 2})), ElementsAre(Crossing{a, 0, 1}, Crossing{a, 0, 2}));
  EXPECT_THAT(find_crossings(placed(g, {0, 0, 0, 0, 0})), IsEmpty());
}

TEST(Schedule, KeepsTheGraphsOrderAndFetchesLate) {
  const Placed p = placed(chain(), {0, 0, 1});
  const auto crossings = find_crossings(p);
  EXPECT_THAT(schedule(p, crossings), ElementsAre(Work{0, -1}, Work{1, -1}, Work{-1, 0}, Work{2, -1}));
}

TEST(Schedule, WhatGoesAlongsideIsEnqueuedFirst) {
  Builder b;
  const ValueId x = b.input("x", f32(4));
  b.emit("near", fakes::mix(), {x});
  const ValueId far = b.emit("far", fakes::mix(), {x}).front();
  b.emit("both", fakes::mix(), {far});
  const Placed p = placed(b.take(), {0, 1, 0});
  const auto crossings = find_crossings(p);
  EXPECT_THAT(schedule(p, crossings), ElementsAre(Work{0, -1}, Work{1, -1}, Work{-1, 0}, Work{2, -1}));
  EXPECT_THAT(schedule(p, crossings, {false, true}), ElementsAre(Work{1, -1}, Work{-1, 0}, Work{0, -1}, Work{2, -1}));
}

TEST(Schedule, NodesOfAFamilyWaitForEachOther) {
  Builder b;
  const ValueId x = b.input("x", f32(4));
  const ValueId small = b.emit("small", fakes::mix(), {x}).front();
  b.emit("large", fakes::mix(), {x});
  const ValueId next = b.emit("small_too", fakes::mix(), {small}).front();
  b.emit("needs_both", fakes::mix(), {small, next});
  b.emit("of_another", fakes::mix(), {x});
  const Placed p = placed(b.take(), {0, 0, 0, 0, 1});
  const std::vector<int> families{1, 0, 1, 0, 0};
  EXPECT_THAT(schedule(p, {}, {true, true}, families),
              ElementsAre(Work{1, -1}, Work{4, -1}, Work{0, -1}, Work{2, -1}, Work{3, -1}));
  EXPECT_THAT(schedule(p, {}, {true, false}, families),
              ElementsAre(Work{1, -1}, Work{0, -1}, Work{2, -1}, Work{3, -1}, Work{4, -1}))
      << "the host's own work waits for what a device can begin with";
}

// Products of one input, whose results are normed: the norms wait until all products are there.
TEST(Schedule, FamiliesDoNotInterruptEachOther) {
  Builder b;
  const ValueId x = b.input("x", f32(4));
  b.emit("norm", fakes::mix(), {b.emit("product", fakes::mix(), {x}).front()});
  b.emit("norm_too", fakes::mix(), {b.emit("product_too", fakes::mix(), {x}).front()});
  const Placed p = placed(b.take(), {0, 0, 0, 0});
  EXPECT_THAT(schedule(p, {}, {}, {2, 1, 2, 1}), ElementsAre(Work{0, -1}, Work{2, -1}, Work{1, -1}, Work{3, -1}));
}

TEST(Schedule, ReadersOfAnOldVersionComeBeforeItsNextWriter) {
  Builder b;
  const ValueId s = b.state("s", f32(4));
  const ValueId s1 = b.emit("write", fakes::mix_into(), {s}).front();
  b.emit("read_new", fakes::mix(), {s1});
  b.emit("read_old", fakes::mix(), {s});
  const Graph g = b.take();
  EXPECT_THAT(schedule(placed(g, {0, 0, 0}), {}), ElementsAre(Work{2, -1}, Work{0, -1}, Work{1, -1}));
}

TEST(Schedule, FetchesBeforeTheSourceIsOverwritten) {
  Builder b;
  const ValueId x = b.input("x", f32(4));
  const ValueId v = b.emit("make", fakes::mix(), {x}).front();
  b.emit("overwrite", fakes::mix_into(), {v});
  b.emit("elsewhere", fakes::mix(), {v});  // reads the old content on device 1
  const Graph g = b.take();
  const Placed p = placed(g, {0, 0, 1});
  const auto crossings = find_crossings(p);
  EXPECT_THAT(schedule(p, crossings), ElementsAre(Work{0, -1}, Work{-1, 0}, Work{1, -1}, Work{2, -1}));
}

TEST(Schedule, RefusesCycles) {
  Builder b;
  const ValueId x = b.input("x", f32(4));
  const ValueId a = b.emit("a", fakes::mix(), {x}).front();
  const ValueId c = b.emit("b", fakes::mix(), {a}).front();
  Graph g = b.take();
  g.nodes[0].in[0] = c;
  EXPECT_THROW(schedule(placed(g, {0, 0}), {}), Error);
}

TEST(MemoryPlan, ReusesWhatIsFree) {
  // 0 and 2 do not live at the same time.
  const std::vector<ArenaRequest> requests{{100, 0, 1}, {50, 1, 2}, {90, 2, 3}};
  const ArenaLayout layout = plan_memory(requests, 64);
  EXPECT_THAT(layout.offsets, ElementsAre(0, 128, 0));
  EXPECT_EQ(layout.bytes, 192u);
}

TEST(MemoryPlan, FillsGapsLowestFirst) {
  // The large ones leave [0, 256) free at step 5, beside something at 256.
  const std::vector<ArenaRequest> requests{{256, 0, 4}, {255, 0, 9}, {64, 5, 5}, {64, 5, 5}};
  EXPECT_THAT(plan_memory(requests, 64).offsets, ElementsAre(0, 256, 0, 64));
}

TEST(MemoryPlan, NothingNeedsNothing) { EXPECT_EQ(plan_memory({}, 64).bytes, 0u); }

TEST(MemoryPlan, RefusesWhatCannotBeAddressed) {
  const std::vector<ArenaRequest> requests{{SIZE_MAX - 10, 0, 0}, {100, 0, 0}};
  EXPECT_THROW(plan_memory(requests, 64), Error);
}

TEST(MemoryPlan, LiveValuesNeverOverlap) {
  std::mt19937 random(7);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  for (int round = 0; round < 300; ++round) {
    const size_t alignment = size_t{1} << pick(0, 7);
    std::vector<ArenaRequest> requests(static_cast<size_t>(pick(1, 60)));
    for (ArenaRequest& r : requests) {
      const int first = pick(0, 30);
      r = {static_cast<size_t>(pick(1, 2000)), first, pick(first, 31)};
    }
    const ArenaLayout layout = plan_memory(requests, alignment);
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_EQ(layout.offsets[i] % alignment, 0u);
      ASSERT_LE(layout.offsets[i] + requests[i].bytes, layout.bytes);
      for (size_t k = 0; k < i; ++k) {
        const bool together = requests[i].first <= requests[k].last && requests[k].first <= requests[i].last;
        const bool apart = layout.offsets[i] + requests[i].bytes <= layout.offsets[k] ||
                           layout.offsets[k] + requests[k].bytes <= layout.offsets[i];
        ASSERT_TRUE(!together || apart) << "round " << round << ": " << i << " and " << k;
      }
    }
  }
}

}  // namespace
}  // namespace v4rt
