#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "graph/ir/builder.h"

namespace v4rt {
namespace {

using fakes::f32;
using ::testing::HasSubstr;

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// x -> a -> b with a state that is read, then appended to.
Graph small_graph() {
  Builder g;
  const ValueId x = g.input("x", f32(4));
  const ValueId w = g.weight("w", f32(4));
  const ValueId s = g.state("s", f32(4));
  const auto layer = g.scope("L00");
  const ValueId a = g.emit("a", fakes::mix(), {x, w, s}).front();
  const auto attn = g.scope("attn");
  const ValueId s1 = g.emit("append", fakes::mix_into(), {s, a}).front();
  const ValueId b = g.emit("b", fakes::split(), {a, s1}).front();
  g.output("y", b);
  return g.take();
}

TEST(Builder, PrefixesNodesWithScopesAndKeepsBoundNames) {
  const Graph g = small_graph();
  ASSERT_EQ(g.nodes.size(), 3u);
  EXPECT_EQ(g.nodes[0].name, "L00.a");
  EXPECT_EQ(g.nodes[1].name, "L00.attn.append");
  EXPECT_EQ(g.value(g.nodes[2].out[1]).name, "L00.attn.b:1");
  EXPECT_GE(g.find("s", Origin::kState), 0);
  EXPECT_EQ(g.find("s", Origin::kWeight), -1);
  EXPECT_NO_THROW(verify(g));
}

TEST(Builder, GivesOneValuePerWeight) {
  Builder g;
  const ValueId w = g.weight("w", f32(4));
  EXPECT_EQ(g.weight("w", f32(4)), w);
  EXPECT_THROW(g.weight("w", f32(5)), Error);
}

TEST(Builder, NamesTheNodeWhoseOpRefuses) {
  Builder g;
  const auto op = std::make_shared<fakes::FakeOp>(
      "picky",
      [](std::span<const TensorType>) -> std::vector<TensorType> { fail(Code::kInvalidArgument, "picky: no"); },
      [](RefContext&) {});
  const ValueId x = g.input("x", f32(4));
  const auto scope = g.scope("L07");
  EXPECT_EQ(message_of([&] { g.emit("bad", op, {x}); }), "L07.bad: picky: no");
  EXPECT_THAT(message_of([&] { g.emit("gone", fakes::mix(), {99}); }), HasSubstr("L07.gone"));
}

TEST(Graph, StorageFollowsAliasesToTheFirstVersion) {
  const Graph g = small_graph();
  const ValueId s = g.find("s", Origin::kState);
  EXPECT_EQ(storage_of(g, g.nodes[1].out[0]), s);
  EXPECT_EQ(storage_of(g, g.nodes[0].out[0]), g.nodes[0].out[0]);
}

TEST(Graph, PrintsOneLinePerNode) {
  EXPECT_EQ(print(small_graph()),
            "input %0 x: f32 [4]\n"
            "weight %1 w: f32 [4]\n"
            "state %2 s: f32 [4]\n"
            "%3 = L00.a mix(%0, %1, %2): f32 [4]\n"
            "%4 = L00.attn.append mix_into(%2, %3): f32 [4]\n"
            "%5, %6 = L00.attn.b split(%3, %4): f32 [4], f32 [1]\n"
            "output y = %5\n");
}

// Each case breaks the small graph in one way.
struct Violation {
  std::string name;
  std::function<void(Graph&)> damage;
  std::string expected;
};

class Verify : public ::testing::TestWithParam<Violation> {};

TEST_P(Verify, CatchesViolation) {
  Graph g = small_graph();
  GetParam().damage(g);
  try {
    verify(g);
    FAIL() << "not caught";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kInternal);
    EXPECT_THAT(error.what(), HasSubstr(GetParam().expected));
  }
}

Value& value_of(Graph& g, ValueId id) { return g.values[static_cast<size_t>(id)]; }

INSTANTIATE_TEST_SUITE_P(
    Each, Verify,
    ::testing::Values(
        Violation{"order", [](Graph& g) { g.nodes[0].in[0] = g.nodes[2].out[0]; },
                  "L00.a: reads %5 (L00.attn.b) before it is made"},
        Violation{"missing_value", [](Graph& g) { g.nodes[0].in[0] = 77; }, "L00.a: there is no value %77"},
        Violation{"type", [](Graph& g) { value_of(g, g.nodes[2].out[1]).type = f32(2); },
                  "L00.attn.b: output 1 is f32 [2]"},
        Violation{"refused_inputs",
                  [](Graph& g) {
                    g.nodes[0].op = std::make_shared<fakes::FakeOp>(
                        "picky",
                        [](std::span<const TensorType>) -> std::vector<TensorType> {
                          fail(Code::kInvalidArgument, "no");
                        },
                        [](RefContext&) {});
                  },
                  "L00.a: no"},
        Violation{"output_count", [](Graph& g) { g.nodes[2].out.pop_back(); },
                  "L00.attn.b: has 1 outputs, split makes 2"},
        Violation{"output_owner", [](Graph& g) { value_of(g, g.nodes[2].out[0]).output = 1; }, "L00.attn.b: output 0"},
        Violation{"orphan",
                  [](Graph& g) { g.values.push_back({.type = f32(1), .name = "lost", .node = 0, .output = 3}); },
                  "lost) is made by no node"},
        Violation{"old_version_read", [](Graph& g) { g.nodes[2].in[1] = g.find("s", Origin::kState); },
                  "L00.attn.b: reads %2 (s), which L00.attn.append has overwritten"},
        Violation{"old_version_output", [](Graph& g) { g.outputs[0].value = g.find("s", Origin::kState); },
                  "output y: L00.attn.append has overwritten it"},
        Violation{"two_writers",
                  [](Graph& g) {
                    g.nodes[2].op = fakes::mix_into();
                    g.nodes[2].in = {g.find("s", Origin::kState)};
                  },
                  "L00.attn.b: reads %2 (s), which L00.attn.append has overwritten"},
        Violation{"one_node_writes_twice",
                  [](Graph& g) {
                    g.nodes[2].op = std::make_shared<fakes::FakeOp>(
                        "double",
                        [](std::span<const TensorType> in) {
                          return std::vector<TensorType>{in[0], in[0]};
                        },
                        [](RefContext&) {}, std::vector<Alias>{{0, 0}, {1, 0}});
                    value_of(g, g.nodes[2].out[1]).type = f32(4);
                  },
                  "L00.attn.b: overwrites %3 twice"},
        Violation{"writes_weight", [](Graph& g) { g.nodes[1].in[0] = g.find("w", Origin::kWeight); },
                  "L00.attn.append: overwrites w, which is constant"},
        Violation{"writes_input", [](Graph& g) { g.nodes[1].in[0] = g.find("x", Origin::kInput); },
                  "L00.attn.append: overwrites x, which is constant"},
        Violation{"alias_range",
                  [](Graph& g) {
                    g.nodes[1].op = std::make_shared<fakes::FakeOp>(
                        "wild", [](std::span<const TensorType> in) { return std::vector<TensorType>{in[0]}; },
                        [](RefContext&) {}, std::vector<Alias>{{0, 5}});
                  },
                  "L00.attn.append: alias of output 0 and input 5 is out of range"},
        Violation{"alias_type",
                  [](Graph& g) {
                    g.nodes[1].op = std::make_shared<fakes::FakeOp>(
                        "shrink", [](std::span<const TensorType>) { return std::vector<TensorType>{f32(3)}; },
                        [](RefContext&) {}, std::vector<Alias>{{0, 0}});
                    value_of(g, g.nodes[1].out[0]).type = f32(3);
                  },
                  "L00.attn.append: overwrites f32 [4] with f32 [3]"},
        Violation{"same_name",
                  [](Graph& g) { g.values.push_back({.type = f32(1), .origin = Origin::kWeight, .name = "w"}); },
                  "two values are bound by the name w"},
        Violation{"no_name", [](Graph& g) { value_of(g, g.find("x", Origin::kInput)).name.clear(); },
                  "bound by name and has none"},
        Violation{"node_name", [](Graph& g) { g.nodes[0].name.clear(); }, "node 0 has no name"},
        Violation{"no_op", [](Graph& g) { g.nodes[0].op = nullptr; }, "L00.a: has no op"},
        Violation{"output_twice", [](Graph& g) { g.outputs.push_back(g.outputs[0]); },
                  "output name \"y\" is empty or used twice"},
        Violation{"output_nowhere", [](Graph& g) { g.outputs[0].value = -1; }, "output y: there is no value %-1"}),
    [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace v4rt
