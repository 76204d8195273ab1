#pragma once

#include "graph/passes/place.h"

namespace v4rt {

// How `device` would run `node`: weight matrices in the layout it wants when it can repack them and takes the op like
// that, otherwise as they are.
struct Offer {
  Support support;
  std::vector<TensorType> inputs;
};
Offer ask(const Device& device, const Graph& graph, const Node& node);

// Puts a repack node before each node whose device wants its weights in another layout: one per weight, layout and
// device. `placement` grows with the graph.
Graph choose_layouts(const Graph& graph, std::span<const std::shared_ptr<Device>> devices, Placement& placement);

// Repack nodes of weights run once, when weights are bound.
bool runs_at_bind(const Graph& graph, const Node& node);

}  // namespace v4rt
