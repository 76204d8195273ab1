#pragma once

#include <memory>
#include <span>

#include "graph/passes/place.h"

namespace v4rt {

// Puts a repack node before each node that takes a weight in another layout than it has: one per weight, layout and
// device.
Placed choose_layouts(Placed placed, std::span<const std::shared_ptr<Device>> devices);

// Nodes that read a weight matrix and nothing else, which are repacks, run once, when weights are bound.
bool runs_at_bind(const Graph& graph, const Node& node);

}  // namespace v4rt
