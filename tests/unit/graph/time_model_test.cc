#include "graph/evidence/time_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "backend/registry.h"
#include "ops/linear/linear.h"
#include "ops/norm/norm.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

constexpr int64_t kWidth = 1024;

// A norm and a product on device 0, and what they make carried to device 1.
Plan plan_of_three(DType weight) {
  Plan plan;
  plan.devices = {create_device("reference"), create_device("reference")};
  const TensorType x{DType::kBF16, Shape{1, kWidth}};
  plan.slots = {{.type = x}, {.type = {DType::kF32, Shape{kWidth}}, .storage = Storage::kWeight},
                {.type = x}, {.type = {weight, Shape{kWidth, kWidth}}, .storage = Storage::kWeight},
                {.type = x}, {.type = x, .device = 1}};
  plan.steps.emplace_back(
      Launch{.device = 0, .args = {0, 1, 2}, .op = std::make_shared<RmsNorm>(1e-6f), .n_inputs = 2});
  plan.steps.emplace_back(
      Launch{.device = 0, .args = {2, 3, 4}, .op = std::make_shared<Linear>(DType::kBF16), .n_inputs = 2});
  plan.steps.emplace_back(Transfer{4, 5});
  return plan;
}

// Costs as they would be explained; what they are is checked elsewhere.
const std::vector<ExplainRow> kRows = {
    {.io_bytes = 4000, .flops = 100}, {.weight_bytes = 1e6, .io_bytes = 4000, .flops = 2e6}, {.io_bytes = 2000}};

TEST(TimeModel, ALaunchAndTheLongerOfMemoryAndCompute) {
  const Plan plan = plan_of_three(DType::kFp8);
  DeviceFigures a{.speed = {.read_gbs = 10, .f32_gflops = 100, .bf16_gflops = 200}, .launch_us = 5, .download_gbs = 2};
  const DeviceFigures b{.upload_gbs = 1};
  const auto of = [&](size_t i) { return predict(plan, kRows, std::vector{a, b})[i]; };
  EXPECT_DOUBLE_EQ(of(0).seconds, 5e-6 + 4000 / 10e9);
  EXPECT_EQ(of(0).bound, "launch");
  EXPECT_DOUBLE_EQ(of(1).seconds, 5e-6 + 1.004e6 / 10e9);
  EXPECT_EQ(of(1).bound, "memory");
  EXPECT_DOUBLE_EQ(of(2).seconds, 2000 / 2e9 + 2000 / 1e9);
  EXPECT_EQ(of(2).bound, "transfer");
  a.fp8 = {.gbs = 40, .gflops = 50};  // as its products were measured
  EXPECT_DOUBLE_EQ(of(1).seconds, 5e-6 + 2e6 / 50e9);
  EXPECT_EQ(of(1).bound, "compute");
  EXPECT_DOUBLE_EQ(of(0).seconds, 5e-6 + 4000 / 10e9);  // no product
  a.fp8 = {};
  a.speed.read_gbs = 1000;
  EXPECT_DOUBLE_EQ(of(1).seconds, 5e-6 + 2e6 / 200e9);  // the best that multiplies bf16
}

TEST(TimeModel, EveryTypeOfWeightsHasItsSpeed) {
  const DeviceFigures figures{
      .speed = {.read_gbs = 1000, .f32_gflops = 1}, .fp8 = {1000, 2}, .fp4 = {1000, 4}, .bf16 = {1000, 8}};
  for (const auto& [weight, gflops] :
       {std::pair{DType::kF32, 1.0}, {DType::kFp8, 2.0}, {DType::kFp4, 4.0}, {DType::kBF16, 8.0}}) {
    const auto times = predict(plan_of_three(weight), kRows, std::vector{figures, figures});
    EXPECT_DOUBLE_EQ(times[1].seconds, 2e6 / (gflops * 1e9)) << info(weight).name;
  }
}

TEST(TimeModel, ADescriptionIsAFileWithWhatIsKnown) {
  const TempFolder folder;
  const std::string path = folder.path() + "/figures.json";
  const auto described = [&](std::string_view text) {
    std::ofstream(path) << text;
    return described_figures(path);
  };
  const DeviceFigures figures = described(R"({"read_gbs": 1500, "f32_gflops": 9000, "launch_us": 4, "fp4_gbs": 900})");
  EXPECT_EQ(figures.speed.read_gbs, 1500);
  EXPECT_EQ(figures.speed.best_bf16_gflops(), 9000);
  EXPECT_EQ(figures.fp4.gbs, 900);
  EXPECT_EQ(figures.fp8.gbs, 0);
  const auto refused = [&](std::string_view text, std::string_view why) {
    try {
      described(text);
      ADD_FAILURE() << text << " was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string(why)));
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  };
  refused(R"({"f32_gflops": 1})", "'read_gbs' is missing");
  refused(R"({"read_gbs": 0, "f32_gflops": 1})", "'read_gbs' is 0");
  refused(R"({"read_gbs": "fast", "f32_gflops": 1})", "'read_gbs' is \"fast\"");
  refused(R"({"read_gbs": 1, "f32_gflops": 1, "tflops": 2})", "'tflops'");
  refused("[]", "not a JSON object");
  refused("{", path);
}

}  // namespace
}  // namespace v4rt
