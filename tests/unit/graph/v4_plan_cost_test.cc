// What plans of V4-Flash and V4-Pro hold and compute, beside V3.2: the ratios that DeepSeek-V4's report publishes.

#include <gtest/gtest.h>

#include "backend/reference/reference_device.h"
#include "graph/model/v32_cost.h"
#include "graph/plan/compile.h"
#include "loaders/synthetic/v4_release.h"
#include "loaders/synthetic/weight_types.h"

namespace v4rt {
namespace {

constexpr int64_t k1M = 1048576;

Plan decoding_plan(const V4Config& config, int64_t context) {
  return compile(build_v4(*synthetic_types(config), {.context = context}), {.devices = {create_reference_device()}});
}

double state_bytes(const Plan& plan) {
  double sum = 0;
  for (const Slot& slot : plan.slots)
    if (slot.storage == Storage::kState) sum += static_cast<double>(slot.type.bytes());
  return sum;
}

// By the precision of a launch's factors, as the report's axis has it: FP8 (FP4 experts are multiplied as FP8) 1, wider
// 2, FP4 index scores 0.5.
double fp8_weight(const Plan& plan, const Launch& launch) {
  if (launch.op->kind() == OpKind::kIndexSelect) return 0.5;
  for (size_t i = 0; i < static_cast<size_t>(launch.n_inputs); ++i) {
    const Role role = launch.op->input(i).role;
    if (role != Role::kMatrix && role != Role::kExperts) continue;
    return has_scale_plane(plan.slots[static_cast<size_t>(launch.args[i])].type.dtype) ? 1 : 2;
  }
  return 2;
}

struct PlanCosts {
  double bytes_per_token = 0;  // of state; without what does not grow with the context
  double flops = 0, fp8_flops = 0;
};

// Of the last token of a context of 1M.
PlanCosts plan_costs(const V4Config& config) {
  const Plan plan = decoding_plan(config, k1M), half = decoding_plan(config, k1M / 2);
  const Segment segment{0, k1M - 1, 1};
  Row row;
  fill_rows({&segment, 1}, {&row, 1});
  const std::vector<ExplainRow> rows = explain(plan, {{&segment, 1}, {&row, 1}});
  PlanCosts costs{.bytes_per_token = (state_bytes(plan) - state_bytes(half)) / (k1M / 2)};
  for (size_t i = 0; i < rows.size(); ++i) {
    costs.flops += rows[i].flops;
    costs.fp8_flops += rows[i].flops * fp8_weight(plan, std::get<Launch>(plan.steps[i]));
  }
  return costs;
}

// The published shares are whole percents.
void expect_share(const V4Config& config, double of_bytes, double of_flops) {
  const PlanCosts plan = plan_costs(config);
  const V32Config v32;
  const double v32_bytes = (cache_bytes(v32, k1M).cache() - cache_bytes(v32, k1M / 2).cache()) / (k1M / 2);
  EXPECT_NEAR(plan.bytes_per_token / v32_bytes, of_bytes, 0.005);
  EXPECT_NEAR(plan.fp8_flops / token_flops_fp8_equivalent(v32, k1M), of_flops, 0.005);
  EXPECT_NEAR(plan.flops / token_flops(config, k1M), 1, 1e-6) << "a plan does what the model costs";
  EXPECT_NEAR(plan.fp8_flops / token_flops_fp8_equivalent(config, k1M), 1, 1e-6);
}

TEST(V4PlanCost, FlashNeedsThePublishedShareOfV32) { expect_share(v4_flash_config(), 0.07, 0.10); }
TEST(V4PlanCost, ProNeedsThePublishedShareOfV32) { expect_share(v4_pro_config(), 0.10, 0.27); }

}  // namespace
}  // namespace v4rt
