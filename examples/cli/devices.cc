#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "backend/registry.h"
#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/huge_pages.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/report.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

std::string describe(const DeviceInfo& device) {
  std::string text = fmt::format("{}\n  {}\n", device.name, device.description);
  if (device.memory > 0) text += fmt::format("  memory      {}\n", human_bytes(device.memory));
  if (device.max_allocation > 0) text += fmt::format("  one buffer  at most {}\n", human_bytes(device.max_allocation));
  text += fmt::format("  alignment   {} bytes\n", device.alignment);
  if (!device.features.empty()) text += fmt::format("  features    {}\n", fmt::join(device.features, ", "));
  return text;
}

// Huge pages save page walks while weights stream.
std::string huge_page_text(const std::string& mode) {
  if (mode == "always" || mode == "madvise") return mode + ": large allocations of the cpu device get them";
  if (mode == "never") return "never; as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  return "unknown";
}

int devices(bool as_json) {
  const DeviceList found = list_devices();
  const std::string mode = huge_page_mode();
  if (as_json) {
    nlohmann::ordered_json json = devices_report(found);
    json["transparent_huge_pages"] = mode.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(mode);
    print(json_text(json));
    return kSuccess;
  }
  std::string text;
  for (const DeviceInfo& device : found.devices) text += describe(device);
  for (const std::string& problem : found.problems) text += fmt::format("not usable: {}\n", problem);
  text += fmt::format("\nbackends of this build: {}\ntransparent huge pages: {}\n",
                      fmt::join(built_in_backends(), ", "), huge_page_text(mode));
  print(text);
  return kSuccess;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("devices", "List every backend and device with what it can do.");
  command->add_flag("--json", *as_json, "Print JSON");
  command->callback([as_json, &action] { action = [as_json] { return devices(*as_json); }; });
}

}  // namespace v4rt::cli
