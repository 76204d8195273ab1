#include <fmt/format.h>

#include <algorithm>

#include "examples/cli/bench_report.h"
#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "ops/core/host.h"

namespace v4rt::cli {
namespace {

struct BenchArguments {
  ModelArguments model;
  std::vector<int64_t> prompts{512};
  int64_t decode_tokens = 64;
  int64_t depth = -1;  // after the first prompt
  int together = 1;
  double accept = 0.9;
  int repetitions = 5;
  bool ops = false, json = false, markdown = false;
};

BenchPlan bench_plan(const BenchArguments& a) {
  BenchPlan plan{.prompts = a.prompts,
                 .decode_tokens = a.decode_tokens,
                 .depth = a.depth >= 0 ? a.depth : a.prompts.front(),
                 .together = a.together,
                 .accept = a.accept,
                 .synthetic = a.depth >= 0,
                 .repetitions = a.repetitions,
                 .ops = a.ops};
  std::erase(plan.prompts, 0);
  if (plan.prompts.empty() && plan.decode_tokens == 0)
    throw UsageError("-p 0 -n 0: there is nothing to measure; give one of them a number of tokens");
  return plan;
}

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

int bench(const BenchArguments& a) {
  check_output();
  const BenchPlan plan = bench_plan(a);
  const Checkpoint checkpoint = open_files(a.model);
  int64_t positions = plan.depth + plan.decode_tokens + 2 * a.model.draft;
  for (const int64_t prompt : plan.prompts) positions = std::max(positions, prompt);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  DeviceSummary devices;
  std::optional<HugePageUse> huge_pages;
  int chunk = 0;
  // Opens the model and closes it again: there may be no room for two of them.
  const auto run = [&](const BenchPlan& what, bool fast) {
    ModelArguments arguments = a.model;
    if (!fast) arguments.fast.clear();
    arguments.slots = what.together;
    const auto model = open_model(checkpoint, arguments, positions);
    devices = summarise(*model, a.model.threads);
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
  if (!a.model.fast.empty() && !plan.prompts.empty()) {  // a single token is always exact
    BenchPlan prompts = plan;
    prompts.decode_tokens = 0;
    prompts.together = 1;
    for (Measurement& m : run(prompts, true)) measurements.push_back(std::move(m));
  }
  BenchReport report{.model = a.model.model,
                     .device = devices.names,
                     .description = devices.descriptions,
                     .mode = a.model.numbers,
                     .commit = commit(),
                     .fast = a.model.fast,
                     .threads = devices.not_cpu.empty() ? devices.threads : 0,
                     .chunk = chunk,
                     .repetitions = a.repetitions,
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
  print(a.json ? to_json(report) : a.markdown ? to_markdown(report) : to_text(report));
  return kSuccess;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<BenchArguments>();
  BenchArguments& a = *arguments;
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure a model: tokens/s when reading prompts and when decoding, bytes and FLOP that the plan's ops say they\n"
      "touch, and these as shares of what the machine reads and multiplies at best (its matrix unit too), measured\n"
      "alongside. "
      "Prompts are random token ids. With --fast, prompts are read in both ways.");
  add_model(*command, a.model);
  const CLI::Validator tokens = between(int64_t{0}, int64_t{1} << 30);
  command->add_option("-p,--prompt-tokens", a.prompts, "Lengths of the prompts to read, as in 512,2048; 0: none")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(tokens)
      ->capture_default_str();
  command->add_option("-n,--decode-tokens", a.decode_tokens, "Tokens to decode, one after the other; 0: none")
      ->transform(tokens)
      ->capture_default_str();
  command
      ->add_option("--parallel", a.together,
                   "Also decode this many sequences together, a token of each in a step; each has state of its own")
      ->transform(between(1, 1024))
      ->capture_default_str();
  add_draft(*command, a.model);
  command
      ->add_option("--accept", a.accept,
                   "With --draft, decode also by guessing; this share of the guesses is taken for right")
      ->transform(between(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("-d,--depth", a.depth,
                   "Position to decode at, over a state filled with random rows (default: after the first prompt)")
      ->transform(tokens);
  command->add_option("-r,--repetitions", a.repetitions, "Of every run, after one to warm up")
      ->transform(between(1, 10000))
      ->capture_default_str();
  command->add_flag("--ops", a.ops, "Also a table of ops: the runs once more, waiting for each launch");
  auto* json = command->add_flag("--json", a.json, "Print JSON");
  command->add_flag("--markdown", a.markdown, "Print tables in Markdown")->excludes(json);
  add_options(*command, a.model);
  command->callback([arguments, &action] { action = [arguments] { return bench(*arguments); }; });
}

}  // namespace v4rt::cli
