#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "examples/cli/bench_run.h"
#include "examples/cli/command.h"
#include "examples/cli/compare_report.h"
#include "examples/cli/format.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/output_file.h"
#include "examples/cli/terminal.h"
#include "examples/cli/trace_file.h"
#include "graph/runtime/profiles.h"

namespace v4rt::cli {
namespace {

struct CompareArguments {
  ModelArguments model;
  std::vector<std::string> devices;
  std::string file, ids, against, report, trace;
  int64_t prompt = 128, decode_tokens = 16, more = 32;
  int repetitions = 2;
  bool json = false, plain = false;
};

// Long enough for every kind of layer: past a window, with whole blocks of compressed entries.
constexpr std::string_view kText =
    "The harbour was quiet at that hour. Two men sat on the wall above the boats and talked about the weather, which "
    "had "
    "been good for a week and would, they agreed, be good for another; about the price of fish; and about a machine "
    "that "
    "one of them had seen in the city, which answered whatever it was asked. \"It says the same every time,\" he said. "
    "\"Ask it in the morning, ask it at night, ask the one across the street: the same words.\" The other thought "
    "about "
    "that for a while. \"Then it is either right,\" he said, \"or all of them are wrong together.\"\n\n"
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / "
    "len(values)\n\n"
    "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765\n";

// One entry of --devices: a device, and after plus signs a number mode, "fast", or a profile: "opencl:1+plain".
ModelArguments variant_of(const CompareArguments& a, const std::string& text) {
  ModelArguments arguments = a.model;
  const std::vector<std::string> parts = CLI::detail::split(text, '+');
  arguments.device = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "plain" || parts[i] == "faithful")
      arguments.numbers = parts[i];
    else if (parts[i] == "fast")
      arguments.fast = "always";
    else
      arguments.profile = parts[i];
  }
  return arguments;
}

struct Text {
  std::string name;
  std::vector<int32_t> ids;
};

Text read_ids_or_text(const CompareArguments& a, const Checkpoint& checkpoint) {
  const V4Config& config = checkpoint.weights->config();
  if (!a.ids.empty()) return {a.ids, read_ids(a.ids, config.vocab_size)};
  const std::string text = a.file.empty() ? std::string(kText) : read_text(a.file);
  return {a.file.empty() ? "a text of the program" : a.file,
          encode_text(*open_tokenizer(checkpoint), text, config, a.plain)};
}

// A Progress that can be interrupted.
std::function<void(double)> shown_by(Progress& progress) {
  return [&progress](double done) {
    if (InterruptGuard::raised()) throw Interrupted();
    progress.update(done);
  };
}

class Comparison {
 public:
  Comparison(const CompareArguments& a, const Checkpoint& checkpoint, Text text, Trace* trace)
      : a_(a), checkpoint_(checkpoint), text_(std::move(text)), trace_(trace) {
    if (!a.against.empty()) golden_ = read_golden(a.against, checkpoint.weights->config().vocab_size, text_.ids);
    const auto all = static_cast<int64_t>(text_.ids.size());
    check(all >= 2, Code::kInvalidArgument, "{}: {} tokens; at least two are needed", text_.name, all);
    constexpr int64_t kDecoded = 4;  // ops of as many single tokens
    report_ = {.model = a.model.model, .commit = commit(), .text = text_.name, .ids = all, .against = a.against};
    report_.decoded = std::min(kDecoded, all - 1);
    report_.prompt = std::min(a.prompt, all - report_.decoded);
  }

  CompareReport run() {
    std::shared_ptr<const Model> first;
    for (const std::string& name : a_.devices) {
      ModelArguments arguments = variant_of(a_, name);
      report_.devices.push_back({.name = name, .bench = bench(arguments)});
      arguments.chunk = static_cast<int>(report_.prompt);
      const auto model = open_model(checkpoint_, arguments, positions());
      Compared& device = report_.devices.back();
      device.memory = memory_map(*model, arguments.chunk);
      compare_with_golden(device, model);
      if (first != nullptr) compare(device, first, model);
      if (first == nullptr) first = model;
    }
    return std::move(report_);
  }

 private:
  int64_t positions() const {
    int64_t most = report_.ids + a_.more;
    for (const GoldenText& text : golden_) most = std::max(most, std::ssize(text.ids));
    return most;
  }

  BenchReport bench(const ModelArguments& arguments) const {
    return run_bench(checkpoint_, arguments,
                     {.prompts = {a_.prompt},
                      .decode_tokens = a_.decode_tokens,
                      .depth = a_.prompt,
                      .repetitions = a_.repetitions,
                      .ops = true,
                      .trace = trace_});
  }

  void compare_with_golden(Compared& device, const std::shared_ptr<const Model>& model) const {
    for (const GoldenText& text : golden_) {
      Progress progress(fmt::format("comparing {} with {}", device.name, a_.against));
      Session session(model);
      device.golden.emplace_back(text.name, compare_golden(text, session, shown_by(progress)));
    }
  }

  void compare(Compared& device, const std::shared_ptr<const Model>& first, const std::shared_ptr<const Model>& model) {
    if (first->options().numbers == model->options().numbers) {
      Progress progress(fmt::format("comparing ops of {}", device.name));
      const auto ids = std::span(text_.ids).first(static_cast<size_t>(report_.prompt + report_.decoded));
      device.ops = compare_ops(first, model, ids, report_.prompt, shown_by(progress));
    } else {
      device.ops_note = "another number mode: its ops have other inputs";
    }
    Progress progress(fmt::format("comparing what {} says", device.name));
    Session expected(first), actual(model);
    device.text = compare_texts(expected, actual, text_.ids, a_.more, shown_by(progress));
  }

  const CompareArguments& a_;
  const Checkpoint& checkpoint_;
  const Text text_;
  Trace* const trace_;
  std::vector<GoldenText> golden_;
  CompareReport report_;
};

void write(OutputFile& file, const std::string& text) {
  file.append(std::as_bytes(std::span(text)));
  file.commit();
}

int compare(const CompareArguments& a) {
  check_output();
  for (const std::string& device : a.devices) {
    const ModelArguments arguments = variant_of(a, device);
    if (!arguments.profile.empty()) read_profile(arguments.profile);  // before anything is measured
  }
  const Checkpoint checkpoint = open_files(a.model);
  Text text = read_ids_or_text(a, checkpoint);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  std::optional<OutputFile> page, data;
  if (!a.report.empty()) {
    std::error_code error;
    std::filesystem::create_directories(a.report, error);
    check(!error, Code::kInvalidArgument, "--report {}: cannot be made: {}", a.report, error.message());
    std::vector<std::string> inputs = input_files(checkpoint, a.model);
    if (!a.against.empty()) inputs.push_back(a.against);
    page.emplace(a.report + "/index.html", inputs);
    data.emplace(a.report + "/compare.json", inputs);
  }
  TraceFile trace(a.trace, input_files(checkpoint, a.model));
  const CompareReport report = Comparison(a, checkpoint, std::move(text), trace.trace()).run();
  trace.write();
  if (page) {
    write(*page, to_page(report));
    write(*data, json_text(to_json(report)));
  }
  print(a.json ? json_text(to_json(report)) : to_text(report));
  return kSuccess;
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<CompareArguments>();
  CompareArguments& a = *arguments;
  CLI::App* command = app.add_subcommand(
      "compare",
      "Run a model on several devices and show what each does: the time of every op beside the device's limits, "
      "memory,\n"
      "and how its numbers differ from those of the first: op by op with equal inputs, and over a text.");
  add_model(*command, a.model);
  command
      ->add_option("--devices", a.devices,
                   "Devices, as in cpu,opencl,opencl:1; with options after a plus: cpu+plain, cpu+faithful, cpu+fast, "
                   "cpu+mobile-gpu or another profile")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->required();
  auto* file =
      command->add_option("-f,--file", a.file, "A file that holds a text to read (default: one of the program)")
          ->check(nonempty());
  command->add_option("--ids", a.ids, "A file of token ids to read in place of a text")
      ->check(nonempty())
      ->excludes(file);
  add_plain(*command, a.plain);
  command
      ->add_option(
          "--against", a.against,
          "A safetensors file of logits that another program computed, to hold every device to: NAME.ids I32 or "
          "I64 [n] and NAME.logits F32 [n, vocabulary], row i after token i, for every text NAME in it; with "
          "NAME.positions [m], logits after these tokens alone, [m, vocabulary]. 'logits' without ids, as "
          "'v4rt logits' writes it, belongs to the text that is read")
      ->check(nonempty());
  command->add_option("-p,--prompt-tokens", a.prompt, "Tokens to read at once, for times and for ops")
      ->transform(between(int64_t{1}, int64_t{1} << 16))
      ->capture_default_str();
  command->add_option("-n,--decode-tokens", a.decode_tokens, "Tokens to decode for times")
      ->transform(between(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--continue", a.more, "Tokens that each device continues the text with at most")
      ->transform(between(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("-r,--repetitions", a.repetitions, "Of every run for times")
      ->transform(between(1, 10000))
      ->capture_default_str();
  command->add_option("--report", a.report, "Also write index.html and compare.json to this folder")->check(nonempty());
  add_trace(*command, a.trace);
  command->add_flag("--json", a.json, "Print JSON");
  add_options(*command, a.model);
  for (const char* option : {"--device", "--chunk", "--fast", "--profile"})
    command->remove_option(command->get_option(option));
  command->callback([arguments, &action] { action = [arguments] { return compare(*arguments); }; });
}

}  // namespace v4rt::cli
