#include "examples/cli/bench_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/terminal.h"
#include "ops/core/host.h"

namespace v4rt::cli {
namespace {

// OpenCL devices of CPU type have vector lanes; a profile changes nothing about where a device runs.
bool is_cpu(const DeviceInfo& device) {
  const std::string name = device.name.substr(0, device.name.find('+'));
  return name == "cpu" || name == "reference" ||
         std::ranges::find(device.features, "vector_lanes") != device.features.end();
}

struct DeviceSummary {
  std::string names, descriptions;
  int threads = 0;            // that they use at once; 0: not all are CPUs
  Device* machine = nullptr;  // whose limits are those of the run; nullptr: there are several
};

DeviceSummary summarise(const Model& model, int threads) {
  DeviceSummary summary;
  const auto& devices = model.plan(1, LogitsOf::kLastRows).devices;
  const bool cpus = std::ranges::all_of(devices, [](const auto& device) { return is_cpu(device->info()); });
  for (const auto& device : devices) {
    const DeviceInfo& info = device->info();
    const char* separator = summary.names.empty() ? "" : ", ";
    summary.names += separator + info.name;
    summary.descriptions += separator + info.description;
    if (!cpus) continue;
    const int mine = info.name == "reference"                      ? 1
                     : info.name.starts_with("cpu") && threads > 0 ? threads
                                                                   : usable_processors();
    if (mine > summary.threads) summary.machine = device.get();
    summary.threads = std::max(summary.threads, mine);
  }
  if (devices.size() == 1) summary.machine = devices.front().get();
  return summary;
}

}  // namespace

BenchReport run_bench(const Checkpoint& checkpoint, const ModelArguments& a, const BenchPlan& plan) {
  int64_t positions = plan.depth + plan.decode_tokens + 2 * a.draft;
  for (const int64_t prompt : plan.prompts) positions = std::max(positions, prompt);
  DeviceSummary devices;
  std::optional<HugePageUse> huge_pages;
  int chunk = 0;
  // Opens the model and closes it again: there may be no room for two of them.
  const auto run = [&](const BenchPlan& what, bool fast) {
    ModelArguments arguments = a;
    if (!fast) arguments.fast.clear();
    arguments.slots = what.together;
    const auto model = open_model(checkpoint, arguments, positions);
    devices = summarise(*model, a.threads);
    chunk = model->options().chunk;
    Progress progress(fast ? "measuring --fast" : "measuring");
    std::vector<Measurement> measurements = measure(model, what, devices.machine, [&](double done) {
      if (InterruptGuard::raised()) throw Interrupted();
      progress.update(done);
    });
    for (Measurement& m : measurements) m.fast = fast;
    huge_pages = huge_page_use();
    progress.clear();
    return measurements;
  };
  std::vector<Measurement> measurements = run(plan, false);
  if (!a.fast.empty() && !plan.prompts.empty()) {  // a single token is always exact
    BenchPlan prompts = plan;
    prompts.decode_tokens = 0;
    prompts.together = 1;
    for (Measurement& m : run(prompts, true)) measurements.push_back(std::move(m));
  }
  BenchReport report{.model = a.model,
                     .device = devices.names,
                     .description = devices.descriptions,
                     .mode = a.numbers,
                     .commit = commit(),
                     .fast = a.fast,
                     .threads = devices.threads,
                     .chunk = chunk,
                     .repetitions = plan.repetitions,
                     .machine = {},
                     .machine_note = {},
                     .huge_pages = huge_pages,
                     .measurements = std::move(measurements)};
  std::vector<DeviceSpeed> speeds;
  for (const Measurement& m : report.measurements) speeds.insert(speeds.end(), m.machine.begin(), m.machine.end());
  if (speeds.empty())
    report.machine_note = fmt::format("the limits of {} are not the same", devices.names);
  else
    report.machine = median(speeds);
  return report;
}

}  // namespace v4rt::cli
