// Any node on any device: the same bits.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

// Of OpenCL devices two parts, where they can be divided.
std::vector<std::shared_ptr<Device>> all_devices() {
  std::vector<std::shared_ptr<Device>> devices{create_device("reference"), create_device("cpu", {.threads = 2})};
  for (const DeviceInfo& device : list_devices().devices) {
    if (!device.name.starts_with("opencl")) continue;
    try {
      for (const char* part : {"/0", "/1"}) devices.push_back(create_device(device.name + part));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::kUnsupported) << error.what();
      devices.push_back(create_device(device.name));
    }
  }
  return devices;
}

std::vector<std::string> node_names(const Model& model) {
  std::vector<std::string> names;
  for (const PlanStep& step : model.plan(1, LogitsOf::kLastRows).steps)
    if (const auto* launch = std::get_if<Launch>(&step)) names.push_back(launch->node);
  return names;
}

// Logits after a prompt in two chunks, and after one more token.
std::vector<float> said(const std::shared_ptr<const Model>& model) {
  Session session(model);
  const auto ids = tiny_ids(12);
  std::vector<float> all = copy_of(session.feed(std::span(ids).first(11)));
  const auto last = session.feed(std::span(ids).last(1));
  all.insert(all.end(), last.begin(), last.end());
  return all;
}

TEST(Placement, AtRandomGivesTheSameBits) {
  constexpr int kPlacements = 200;
  const auto devices = all_devices();
  ModelOptions options = tiny_options();
  const auto weights = tiny_weights();
  const auto whole = Model::open(weights, options);
  const std::vector<float> expected = said(whole);
  const std::vector<std::string> nodes = node_names(*whole);
  options.find_device = [&](std::string_view name) {
    return *std::ranges::find_if(devices, [&](const auto& device) { return device->info().name == name; });
  };
  std::mt19937 random(20240607);
  std::set<size_t> transfers;  // how many a token takes
  for (int i = 0; i < kPlacements; ++i) {
    options.place.clear();
    for (const std::string& node : nodes)
      options.place.emplace_back(node, devices[random() % devices.size()]->info().name);
    const auto model = Model::open(weights, options);
    const Plan& plan = model->plan(1, LogitsOf::kLastRows);
    transfers.insert(static_cast<size_t>(std::ranges::count_if(
        plan.steps, [](const PlanStep& step) { return std::holds_alternative<Transfer>(step); })));
    EXPECT_THAT(plan.refusals, testing::IsEmpty());
    ASSERT_EQ(said(model), expected) << "placement " << i;
  }
  EXPECT_GT(*transfers.begin(), 10u);
  EXPECT_GT(transfers.size(), 5u);  // they were not alike
}

}  // namespace
}  // namespace v4rt
