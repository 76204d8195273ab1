#pragma once

#include <functional>

#include "graph/passes/place.h"
#include "graph/plan/plan.h"

namespace v4rt {

// The passes in order: verify, place, layouts, transfers, schedule, kernels, joins, memory plan.
// Throws Error(kUnsupported) with every refusal when no device takes a node. `progress` is called before each kernel is
// made, which may take seconds; done in [0, 1].
Plan compile(const Graph& graph, const PlaceOptions& options, const std::function<void(double done)>& progress = {});

}  // namespace v4rt
