#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "backend/registry.h"
#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/huge_pages.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "graph/evidence/device_figures.h"
#include "graph/runtime/kernel_form.h"
#include "graph/runtime/report.h"
#include "loaders/files/json_document.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

struct DevicesArguments {
  std::string device;  // of those to measure; empty: all
  bool measure = false, json = false;
};

std::string figures_text(const DeviceFigures& f) {
  std::string text =
      fmt::format("  measured    reads {:.2f} GB/s, {:.1f} GFLOP/s (f32)", f.speed.read_gbs, f.speed.f32_gflops);
  if (f.speed.bf16_gflops > 0) text += fmt::format(", {:.1f} GFLOP/s (bf16 pairs)", f.speed.bf16_gflops);
  if (f.speed.matrix_gflops > 0) text += fmt::format(", {:.1f} GFLOP/s (bf16 tiles)", f.speed.matrix_gflops);
  const auto product = [&](std::string_view name, const ProductSpeed& speed) {
    if (speed.gbs > 0)
      text += fmt::format("\n              products with {}: {:.2f} GB/s of one token, {:.1f} GFLOP/s of many", name,
                          speed.gbs, speed.gflops);
  };
  product("fp8", f.fp8), product("fp4", f.fp4), product("bf16", f.bf16);
  return text + fmt::format(
                    "\n              a launch {:.2f} us; new memory {:.2f} GB/s, uploads {:.2f} GB/s, downloads {:.2f} "
                    "GB/s\n",
                    f.launch_us, f.allocate_gbs, f.upload_gbs, f.download_gbs);
}

nlohmann::ordered_json figures_json(const std::optional<DeviceFigures>& f) {
  if (!f) return nullptr;
  return {{"read_gbs", f->speed.read_gbs},
          {"read_bytes", f->speed.buffer_bytes},
          {"f32_gflops", f->speed.f32_gflops},
          {"bf16_gflops", f->speed.bf16_gflops},
          {"matrix_gflops", f->speed.matrix_gflops},
          {"launch_us", f->launch_us},
          {"allocate_gbs", f->allocate_gbs},
          {"upload_gbs", f->upload_gbs},
          {"download_gbs", f->download_gbs},
          {"fp8_gbs", f->fp8.gbs},
          {"fp8_gflops", f->fp8.gflops},
          {"fp4_gbs", f->fp4.gbs},
          {"fp4_gflops", f->fp4.gflops},
          {"bf16_gbs", f->bf16.gbs},
          {"bf16_product_gflops", f->bf16.gflops}};
}

std::string describe(const DeviceInfo& device) {
  std::string text = fmt::format("{}\n  {}\n", device.name, device.description);
  if (device.memory > 0) text += fmt::format("  memory      {}\n", human_bytes(device.memory));
  if (device.max_allocation > 0) text += fmt::format("  one buffer  at most {}\n", human_bytes(device.max_allocation));
  text += fmt::format("  alignment   {} bytes\n", device.alignment);
  if (!device.features.empty()) text += fmt::format("  features    {}\n", fmt::join(device.features, ", "));
  if (const auto form = kernel_form(cache_folder(), device))
    text += fmt::format("  kernels     on {}\n", to_string(*form));
  if (const auto figures = kept_figures(cache_folder(), device)) text += figures_text(*figures);
  return text;
}

// Measures the devices, or the one that was asked for, which may be a part of one and is then listed too, and keeps the
// figures. What cannot be used is a problem more.
void measure(const DevicesArguments& a, DeviceList& found) {
  std::vector<DeviceInfo> infos = found.devices;
  if (!a.device.empty()) {
    infos = {create_device(a.device)->info()};
    const bool listed = std::ranges::any_of(found.devices, [&](const auto& d) { return d.name == infos[0].name; });
    if (!listed) found.devices.push_back(infos[0]);
  }
  Progress progress("measuring");
  for (size_t i = 0; i < infos.size(); ++i) {
    progress.update(static_cast<double>(i) / static_cast<double>(infos.size()), infos[i].name);
    try {
      const auto device = create_device(infos[i].name, {.cache_dir = cache_folder()});
      keep_figures(cache_folder(), infos[i], measure_figures(*device));
    } catch (const Error& error) {
      found.problems.push_back(error.what());
    }
  }
}

// Huge pages save page walks while weights stream.
std::string huge_page_text(const std::string& mode) {
  if (mode == "always" || mode == "madvise") return mode + ": large allocations of the cpu device get them";
  if (mode == "never") return "never; as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  return "unknown";
}

int devices(const DevicesArguments& a) {
  check(!a.measure || !cache_folder().empty(), Code::kNotFound,
        "--measure: there is no folder to keep figures in: set HOME or XDG_CACHE_HOME");
  DeviceList found = list_devices({.cache_dir = cache_folder()});
  if (a.measure) measure(a, found);
  const std::string mode = huge_page_mode();
  if (a.json) {
    OrderedJson json = devices_report(found, cache_folder());
    for (size_t i = 0; i < found.devices.size(); ++i)
      json["devices"][i]["measured"] = figures_json(kept_figures(cache_folder(), found.devices[i]));
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
  auto arguments = std::make_shared<DevicesArguments>();
  CLI::App* command = app.add_subcommand(
      "devices", "List every backend and device with what it can do, and what it was measured to do.");
  auto* measure = command->add_flag("--measure", arguments->measure,
                                    "Measure each device, some seconds: reading, arithmetic, the cost of a launch, new "
                                    "memory and transfers; the figures are kept, by device and driver");
  command->add_option("--device", arguments->device, "Measure this one alone")->check(nonempty())->needs(measure);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([arguments, &action] { action = [arguments] { return devices(*arguments); }; });
}

}  // namespace v4rt::cli
