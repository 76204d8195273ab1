#include "graph/evidence/device_figures.h"

#include <gtest/gtest.h>

#include "backend/registry.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

TEST(DeviceFigures, OfEveryBackendArePositive) {
  for (const std::string& backend : built_in_backends()) {
    const DeviceFigures figures = measure_figures(*create_device(backend, {.threads = 1}));
    for (const double figure : {figures.speed.read_gbs, figures.speed.f32_gflops, figures.launch_us,
                                figures.allocate_gbs, figures.upload_gbs, figures.download_gbs})
      EXPECT_GT(figure, 0) << backend;
    EXPECT_GE(figures.speed.best_bf16_gflops(), figures.speed.f32_gflops);
  }
}

TEST(DeviceFigures, AreKeptByDeviceAndDriver) {
  const TempFolder folder;
  DeviceInfo device{.name = "opencl:0", .description = "a device, driver 1"};
  const auto kept = [&] { return kept_figures(folder.path(), device); };
  EXPECT_FALSE(kept());
  keep_figures(folder.path(), device, {.speed = {.read_gbs = 12.5, .f32_gflops = 3}, .launch_us = 4});
  ASSERT_TRUE(kept());
  EXPECT_EQ(kept()->speed.read_gbs, 12.5);
  EXPECT_EQ(kept()->speed.f32_gflops, 3);
  EXPECT_EQ(kept()->launch_us, 4);
  device.description = "a device, driver 2";
  EXPECT_FALSE(kept());
  keep_figures(folder.path(), device, {.launch_us = 5});  // in place of the others
  EXPECT_EQ(kept()->launch_us, 5);
  device = {.name = "opencl:1", .description = "a device, driver 2"};
  EXPECT_FALSE(kept());
  keep_figures("", device, {});
  EXPECT_FALSE(kept_figures("", device));
}

}  // namespace
}  // namespace v4rt
