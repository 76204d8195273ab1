#pragma once

// What the library says of itself, as JSON: for the program's --json and for the C interface.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "backend/registry.h"
#include "graph/plan/plan.h"
#include "graph/runtime/model.h"

namespace v4rt {

nlohmann::ordered_json devices_report(const DeviceList& devices);

// A step of `tokens` tokens that begins at `position`, in the plan that runs it.
struct Explanation {
  Explanation(const Model& explained, int32_t tokens, int64_t position);  // throws Error if there is no such step

  int64_t launches() const;
  int64_t transfers() const;

  const Model& model;
  const Plan& plan;
  Segment segment;
  std::vector<ExplainRow> rows;
};
nlohmann::ordered_json explain_report(const Explanation& explanation);

nlohmann::ordered_json memory_report(std::span<const DeviceNeed> needs);

}  // namespace v4rt
