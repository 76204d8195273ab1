#pragma once

// What the library says of itself, as JSON: for the program's --json and for the C interface.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/registry.h"
#include "graph/plan/plan.h"
#include "graph/runtime/model.h"
#include "loaders/files/json.h"

namespace v4rt {

// `cache_dir`: where the forms of kernels that were measured are kept.
Json devices_report(const DeviceList& devices, const std::string& cache_dir = {});

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
Json explain_report(const Explanation& explanation);

Json memory_report(std::span<const DeviceNeed> needs);

}  // namespace v4rt
