#include "graph/passes/layouts.h"

#include <map>
#include <tuple>

#include "ops/layout/repack.h"

namespace v4rt {
namespace {

// Which inputs of an op are weight matrices that a device may want in its own layout.
std::span<const int> matrix_inputs(OpKind kind) {
  static constexpr int kLinear[] = {1}, kGateUp[] = {3, 4}, kDown[] = {2};
  switch (kind) {
    case OpKind::kLinear: return kLinear;
    case OpKind::kMoeGateUp: return kGateUp;
    case OpKind::kMoeDown: return kDown;
    default: return {};
  }
}

Support supports(const Device& device, const Graph& graph, const Node& node, std::span<const TensorType> inputs) {
  std::vector<TensorType> outputs;
  for (const ValueId id : node.out) outputs.push_back(graph.value(id).type);
  return device.supports({*node.op, inputs, outputs});
}

bool can_repack(const Device& device, const TensorType& from, const TensorType& to) {
  const Repack repack(to.layout);
  return static_cast<bool>(device.supports({repack, {&from, 1}, {&to, 1}}));
}

// `types` with each weight matrix in the layout that the device wants and can make.
std::vector<TensorType> wanted(const Device& device, const Graph& graph, const Node& node,
                               std::vector<TensorType> types) {
  for (const int i : matrix_inputs(node.op->kind())) {
    const auto at = static_cast<size_t>(i);
    if (at >= node.in.size() || graph.value(node.in[at]).origin != Origin::kWeight) continue;
    TensorType to = types[at];
    to.layout = device.weight_layout(types[at]);
    if (to.layout != types[at].layout && can_repack(device, types[at], to)) types[at] = to;
  }
  return types;
}

}  // namespace

Offer ask(const Device& device, const Graph& graph, const Node& node) {
  std::vector<TensorType> plain;
  for (const ValueId id : node.in) plain.push_back(graph.value(id).type);
  std::vector<TensorType> preferred = wanted(device, graph, node, plain);
  if (preferred != plain && supports(device, graph, node, preferred)) return {{}, std::move(preferred)};
  Support support = supports(device, graph, node, plain);
  return {std::move(support), std::move(plain)};
}

Graph choose_layouts(const Graph& graph, std::span<const std::shared_ptr<Device>> devices, Placement& placement) {
  Graph out = graph;
  out.nodes.clear();
  std::vector<int> device_of;
  std::map<std::tuple<ValueId, Layout, int>, ValueId> repacked;

  const auto append = [&](Node node, int device) {
    const auto id = static_cast<NodeId>(out.nodes.size());
    for (const ValueId v : node.out) out.values[static_cast<size_t>(v)].node = id;
    out.nodes.push_back(std::move(node));
    device_of.push_back(device);
  };
  const auto repack = [&](ValueId weight, const TensorType& type, int device) {
    const auto [it, is_new] =
        repacked.try_emplace({weight, type.layout, device}, static_cast<ValueId>(out.values.size()));
    if (is_new) {
      const std::string name =
          fmt::format("{}.repack@{}", graph.value(weight).name, devices[static_cast<size_t>(device)]->info().name);
      out.values.push_back({.type = type, .origin = Origin::kNode, .name = name});
      append({std::make_shared<const Repack>(type.layout), {weight}, {it->second}, name}, device);
    }
    return it->second;
  };

  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node node = graph.nodes[i];
    const int device = placement.device[i];
    const Offer offer = ask(*devices[static_cast<size_t>(device)], graph, node);
    for (size_t k = 0; k < node.in.size(); ++k) {
      if (offer.inputs[k] != graph.value(node.in[k]).type) node.in[k] = repack(node.in[k], offer.inputs[k], device);
    }
    append(std::move(node), device);
  }
  placement.device = std::move(device_of);
  return out;
}

bool runs_at_bind(const Graph& graph, const Node& node) {
  return node.op->kind() == OpKind::kRepack && graph.value(node.in[0]).origin == Origin::kWeight;
}

}  // namespace v4rt
