#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/evidence/device_figures.h"
#include "graph/plan/plan.h"

namespace v4rt {

// How long a step of a plan takes by its costs and by what its devices do: a launch, and the longer of moving its bytes
// and of its arithmetic. Products go at the speed of products with their weights' type, where that was measured; what
// else there is at the device's limits. To report and to choose what to measure, not to claim.
struct PredictedTime {
  double seconds = 0;
  std::string_view bound;  // "memory", "compute", "launch", "transfer": what most of it is
};

// Of each step of the plan; `rows` explain them. `figures`: of each of its devices.
std::vector<PredictedTime> predict(const Plan& plan, std::span<const ExplainRow> rows,
                                   std::span<const DeviceFigures> figures);

// "linear fp8": the cost of a product depends on its weights, so their type is part of the name.
std::string cost_label(const Plan& plan, size_t step);

}  // namespace v4rt
