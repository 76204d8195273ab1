#pragma once

#include "graph/passes/place.h"
#include "graph/plan/plan.h"

namespace v4rt {

// The passes in order: verify, place, layouts, transfers, schedule, kernels, memory plan.
// Throws Error(kUnsupported) with every refusal when no device takes a node.
Plan compile(const Graph& graph, const PlaceOptions& options);

}  // namespace v4rt
