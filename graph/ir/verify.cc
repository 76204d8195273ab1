#include <map>
#include <set>
#include <tuple>

#include "graph/ir/graph.h"

namespace v4rt {
namespace {

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph), overwritten_by_(graph.values.size(), -1) {}

  void run() {
    bound_names();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) node(static_cast<NodeId>(i));
    for (size_t i = 0; i < graph_.values.size(); ++i) maker(static_cast<ValueId>(i));
    outputs();
  }

 private:
  // Inputs, weights and states are bound by name, parts of weights by name and range: no two may be the same.
  void bound_names() const {
    std::set<std::tuple<Origin, std::string_view, int64_t, int64_t>> seen;
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const Value& value = graph_.values[i];
      if (value.origin == Origin::kNode) continue;
      check(!value.name.empty(), Code::kInternal, "value %{} is bound by name and has none", i);
      check(seen.insert({value.origin, value.name, value.range.first, value.range.count}).second, Code::kInternal,
            "two values are bound by the name {}", value.name);
    }
  }

  void node(NodeId id) {
    const Node& n = graph_.node(id);
    check(!n.name.empty(), Code::kInternal, "node {} has no name", id);
    check(n.op != nullptr, Code::kInternal, "{}: has no op", n.name);
    for (const ValueId in : n.in) readable(in, id);
    types(n, id);
    overwrites(n, id);
  }

  void readable(ValueId id, NodeId reader) const {
    const std::string& name = graph_.node(reader).name;
    check(id >= 0 && static_cast<size_t>(id) < graph_.values.size(), Code::kInternal, "{}: there is no value %{}", name,
          id);
    const Value& value = graph_.value(id);
    check(value.origin != Origin::kNode || (value.node >= 0 && value.node < reader), Code::kInternal,
          "{}: reads %{} ({}) before it is made", name, id, value.name);
    const NodeId writer = overwritten_by_[static_cast<size_t>(id)];
    check(writer < 0, Code::kInternal, "{}: reads %{} ({}), which {} has overwritten", name, id, value.name,
          writer < 0 ? "" : graph_.node(writer).name);
  }

  void types(const Node& n, NodeId id) const {
    std::vector<TensorType> in;
    for (const ValueId v : n.in) in.push_back(graph_.value(v).type);
    std::vector<TensorType> expected;
    try {
      expected = n.op->infer(in);
    } catch (const Error& error) {
      fail(Code::kInternal, "{}: {}", n.name, error.what());
    }
    check(expected.size() == n.out.size(), Code::kInternal, "{}: has {} outputs, {} makes {}", n.name, n.out.size(),
          n.op->describe(), expected.size());
    for (size_t i = 0; i < n.out.size(); ++i) {
      const ValueId out = n.out[i];
      check(out >= 0 && static_cast<size_t>(out) < graph_.values.size(), Code::kInternal, "{}: there is no value %{}",
            n.name, out);
      const Value& value = graph_.value(out);
      check(value.origin == Origin::kNode && value.node == id && value.output == static_cast<int>(i), Code::kInternal,
            "{}: output {} is %{}, which says otherwise", n.name, i, out);
      check(value.type == expected[i], Code::kInternal, "{}: output {} is {}, {} makes {}", n.name, i,
            to_string(value.type), n.op->describe(), to_string(expected[i]));
    }
  }

  void overwrites(const Node& n, NodeId id) {
    for (const Alias& alias : n.op->aliases()) {
      check(alias.input >= 0 && static_cast<size_t>(alias.input) < n.in.size() && alias.output >= 0 &&
                static_cast<size_t>(alias.output) < n.out.size(),
            Code::kInternal, "{}: alias of output {} and input {} is out of range", n.name, alias.output, alias.input);
      const ValueId old = n.in[static_cast<size_t>(alias.input)];
      const ValueId made = n.out[static_cast<size_t>(alias.output)];
      check(graph_.value(old).type == graph_.value(made).type, Code::kInternal, "{}: overwrites {} with {}", n.name,
            to_string(graph_.value(old).type), to_string(graph_.value(made).type));
      const Origin origin = graph_.value(storage_of(graph_, old)).origin;
      check(origin == Origin::kState || origin == Origin::kNode, Code::kInternal,
            "{}: overwrites {}, which is constant", n.name, graph_.value(old).name);
      NodeId& writer = overwritten_by_[static_cast<size_t>(old)];
      check(writer < 0, Code::kInternal, "{}: overwrites %{} twice", n.name, old);
      writer = id;
    }
  }

  // Every node value is an output of the node it names; node() has checked the other direction.
  void maker(ValueId id) const {
    const Value& value = graph_.value(id);
    if (value.origin != Origin::kNode) return;
    const bool made = value.node >= 0 && static_cast<size_t>(value.node) < graph_.nodes.size() && value.output >= 0 &&
                      static_cast<size_t>(value.output) < graph_.node(value.node).out.size() &&
                      graph_.node(value.node).out[static_cast<size_t>(value.output)] == id;
    check(made, Code::kInternal, "%{} ({}) is made by no node", id, value.name);
  }

  void outputs() const {
    std::set<std::string_view> seen;
    for (const Output& output : graph_.outputs) {
      check(!output.name.empty() && seen.insert(output.name).second, Code::kInternal,
            "output name \"{}\" is empty or used twice", output.name);
      check(output.value >= 0 && static_cast<size_t>(output.value) < graph_.values.size(), Code::kInternal,
            "output {}: there is no value %{}", output.name, output.value);
      const NodeId writer = overwritten_by_[static_cast<size_t>(output.value)];
      check(writer < 0, Code::kInternal, "output {}: {} has overwritten it", output.name,
            writer < 0 ? "" : graph_.node(writer).name);
    }
  }

  const Graph& graph_;
  std::vector<NodeId> overwritten_by_;  // per value: the node that made the next version in its memory
};

}  // namespace

void verify(const Graph& graph) { Verifier(graph).run(); }

}  // namespace v4rt
