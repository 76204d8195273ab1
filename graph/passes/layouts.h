#pragma once

#include <memory>
#include <span>

#include "graph/passes/place.h"

namespace v4rt {

// Puts a repack node before each node that wants a weight in another layout; one per weight, layout and device.
Placed choose_layouts(Placed placed, std::span<const std::shared_ptr<Device>> devices);

// A node that reads nothing but a weight matrix is a repack; it runs once, when weights are bound.
bool runs_at_bind(const Graph& graph, const Node& node);

}  // namespace v4rt
