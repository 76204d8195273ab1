#include "graph/runtime/kernel_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/lanes_choice.h"
#include "graph/runtime/report.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

TEST(KernelForm, SaysWhetherItWasMeasured) {
  const TempFolder folder;
  DeviceInfo device{.name = "opencl:0", .description = "d, 2 compute units", .features = {"vector_lanes"}};
  EXPECT_EQ(to_string(kernel_form(folder.path(), device).value()),
            "vector lanes (by the device's type and vectors: not measured yet)");
  keep_trials(folder.path(), device,
              {.usual = Lanes::kVector, .vector = {.one = 1}, .work_items = {.one = 2, .problem = ""}});
  const KernelForm form = kernel_form(folder.path(), device).value();
  EXPECT_TRUE(form.measured);
  EXPECT_THAT(form.why, HasSubstr("measured: on work-items a product of one token takes 2.00 times as long"));
  const DeviceInfo described{
      .name = "opencl:0+p", .description = device.description + ", as p", .features = device.features};
  EXPECT_EQ(kernel_form(folder.path(), described).value().why, form.why);

  const std::string json = devices_report({{device, {.name = "cpu", .features = {}}}, {}}, folder.path()).pretty();
  EXPECT_THAT(json, HasSubstr(R"("form": "vector lanes")"));
  EXPECT_THAT(json, HasSubstr(R"("measured": true)"));
  EXPECT_THAT(json, HasSubstr(R"("kernel_form": null)"));

  device.features = {"work_item_lanes"};
  EXPECT_THAT(kernel_form(folder.path(), device).value().why, HasSubstr("as asked; measured: "));
  device.description = "d, 1 compute unit";
  EXPECT_FALSE(kernel_form(folder.path(), device).value().measured) << "a part of it";
}

}  // namespace
}  // namespace v4rt
