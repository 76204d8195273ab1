// How many launches a token takes in a layer, where a device does several ops by one.
#include <gtest/gtest.h>

#include <map>

#include "backend/registry.h"
#include "graph/plan/plan.h"
#include "graph/runtime/model.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

TEST(Launches, OfATokenInALayer) {
  bool there = false;
  for (const std::string& backend : built_in_backends()) there = there || backend == "opencl";
  if (!there) GTEST_SKIP() << "built without OpenCL";
  const auto model = open_model(mini_path(), {.device = "opencl"});
  const Plan& plan = model->plan(1, LogitsOf::kLastRows);
  const Segment segment{0, 0, 1};
  const Row row{};
  std::map<int, int> launches;
  for (const ExplainRow& one : explain(plan, {{&segment, 1}, {&row, 1}}))
    if (one.joined.empty()) ++launches[one.layer];
  EXPECT_EQ(launches[0], 16) << "the window alone";
  EXPECT_EQ(launches[1], 19) << "with an indexer; a pool at most once in four tokens";
  EXPECT_EQ(launches[2], 17) << "compressed entries alone";
}

}  // namespace
}  // namespace v4rt
