#include "examples/cli/bench_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/terminal.h"
#include "ops/core/host.h"

namespace v4rt::cli {
namespace {

// OpenCL devices of CPU type have vector lanes; the limits of the host apply to them too.
bool is_cpu(const DeviceInfo& device) {
  const auto& features = device.features;
  return device.name == "cpu" || device.name == "reference" ||
         std::find(features.begin(), features.end(), "vector_lanes") != features.end();
}

// Whether this process may use one; the cpu device asks the system for it.
bool has_matrix_unit() {
  const auto features = create_device("cpu")->info().features;
  return std::find(features.begin(), features.end(), "amx") != features.end();
}

struct DeviceSummary {
  std::string names, descriptions, not_cpu;
  int threads = 1;  // that the CPUs among them use at once
};

DeviceSummary summarise(const Model& model, int threads) {
  DeviceSummary summary;
  for (const auto& device : model.plan(1, LogitsOf::kLastRows).devices) {
    const DeviceInfo& info = device->info();
    const char* separator = summary.names.empty() ? "" : ", ";
    summary.names += separator + info.name;
    summary.descriptions += separator + info.description;
    if (!is_cpu(info)) summary.not_cpu = info.name;
    const int mine = info.name == "reference" ? 1 : info.name == "cpu" && threads > 0 ? threads : usable_processors();
    summary.threads = std::max(summary.threads, mine);
  }
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
    const Machine machine{devices.not_cpu.empty() ? devices.threads : 0, has_matrix_unit()};
    Progress progress(fast ? "measuring --fast" : "measuring");
    std::vector<Measurement> measurements = measure(model, what, machine, [&](double done) {
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
                     .threads = devices.not_cpu.empty() ? devices.threads : 0,
                     .chunk = chunk,
                     .repetitions = plan.repetitions,
                     .machine = {},
                     .machine_note = {},
                     .huge_pages = huge_pages,
                     .measurements = std::move(measurements)};
  if (devices.not_cpu.empty()) {
    std::vector<MachineSpeed> speeds;
    for (const Measurement& m : report.measurements) speeds.insert(speeds.end(), m.machine.begin(), m.machine.end());
    report.machine = median(speeds);
  } else {
    report.machine_note = fmt::format("{} is no CPU, and the limits of the host are not its own", devices.not_cpu);
  }
  return report;
}

}  // namespace v4rt::cli
