#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "graph/plan/plan.h"

namespace v4rt::cli {

// A plan as a graph: its steps, and which reads what from which. `rows` are those of the steps (explain).
nlohmann::ordered_json graph_json(const Plan& plan, std::span<const ExplainRow> rows);
// For Graphviz: a box for each layer, a colour for each device.
std::string graph_dot(const Plan& plan, std::span<const ExplainRow> rows);

}  // namespace v4rt::cli
