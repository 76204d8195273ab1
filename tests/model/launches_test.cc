// How many launches a token takes in a layer, where a device does several ops by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "backend/registry.h"
#include "graph/plan/plan.h"
#include "graph/runtime/model.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

// Of the first three layers: the window alone, with an indexer, compressed entries alone. hc_pre counts as one.
std::vector<int> launches_of(bool long_launches) {
  ModelOptions options{.device = "opencl"};
  options.device_options.lanes = Lanes::kVector;
  options.device_options.long_launches = long_launches;
  const auto model = Model::open(open_checkpoint(mini_path()).weights, options);
  const Segment segment{0, 0, 1};
  const Row row{};
  std::vector<int> launches(3);
  for (const ExplainRow& one : explain(model->plan(1, LogitsOf::kLastRows), {{&segment, 1}, {&row, 1}}))
    if (one.joined.empty() && one.layer >= 0 && one.layer < 3) ++launches[static_cast<size_t>(one.layer)];
  return launches;
}

TEST(Launches, OfATokenInALayer) {
  const auto devices = list_devices().devices;
  const auto device = std::ranges::find(devices, "opencl:0", &DeviceInfo::name);
  if (device == devices.end()) GTEST_SKIP() << "no OpenCL";
  EXPECT_THAT(launches_of(false), testing::ElementsAre(16, 19, 17));
  if (std::ranges::find(device->features, "device_fences") != device->features.end()) {
    EXPECT_THAT(launches_of(true), testing::ElementsAre(10, 11, 10));
  }
}

}  // namespace
}  // namespace v4rt
