#include "graph/passes/layouts.h"

#include <map>
#include <tuple>

#include "ops/layout/repack.h"

namespace v4rt {

Placed choose_layouts(Placed placed, std::span<const std::shared_ptr<Device>> devices) {
  const std::vector<Node> nodes = std::move(placed.graph.nodes);
  std::vector<Choice> choices = std::move(placed.choices);
  Graph& graph = placed.graph;
  graph.nodes.clear();
  placed.choices.clear();
  std::map<std::tuple<ValueId, Layout, int>, ValueId> repacked;

  const auto append = [&](Node node, Choice choice) {
    const auto id = static_cast<NodeId>(graph.nodes.size());
    for (const ValueId v : node.out) graph.values[static_cast<size_t>(v)].node = id;
    graph.nodes.push_back(std::move(node));
    placed.choices.push_back(std::move(choice));
  };
  const auto repack = [&](ValueId weight, const TensorType& to, int device) {
    const auto [it, is_new] =
        repacked.try_emplace({weight, to.layout, device}, static_cast<ValueId>(graph.values.size()));
    if (!is_new) return it->second;
    const TensorType from = graph.value(weight).type;
    const Device& on = *devices[static_cast<size_t>(device)];
    const std::string name = fmt::format("{}.repack@{}", graph.value(weight).name, on.info().name);
    const auto op = std::make_shared<const Repack>(to.layout);
    graph.values.push_back({.type = to, .origin = Origin::kNode, .name = name});
    append({op, {weight}, {it->second}, name}, {device, on.supports({*op, {&from, 1}, {&to, 1}}).kernel, {from}});
    return it->second;
  };

  for (size_t i = 0; i < nodes.size(); ++i) {
    Node node = nodes[i];
    for (size_t k = 0; k < node.in.size(); ++k) {
      const TensorType& wanted = choices[i].inputs[k];
      if (wanted != graph.value(node.in[k]).type) node.in[k] = repack(node.in[k], wanted, choices[i].device);
    }
    append(std::move(node), std::move(choices[i]));
  }
  return placed;
}

bool runs_at_bind(const Graph& graph, const Node& node) {
  return node.in.size() == 1 && node.op->input(0).role == Role::kMatrix &&
         graph.value(node.in[0]).origin == Origin::kWeight;
}

}  // namespace v4rt
