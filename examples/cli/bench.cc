#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "examples/cli/bench_report.h"
#include "examples/cli/bench_run.h"
#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "examples/cli/trace_file.h"

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
  std::string trace;
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

int bench(const BenchArguments& a) {
  check_output();
  BenchPlan plan = bench_plan(a);
  const Checkpoint checkpoint = open_files(a.model);
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  TraceFile trace(a.trace, input_files(checkpoint, a.model));
  plan.trace = trace.trace();
  const BenchReport report = run_bench(checkpoint, a.model, plan);
  trace.write();
  print(a.json ? json_text(to_json(report)) : a.markdown ? to_markdown(report) : to_text(report));
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
  add_trace(*command, a.trace);
  auto* json = command->add_flag("--json", a.json, "Print JSON");
  command->add_flag("--markdown", a.markdown, "Print tables in Markdown")->excludes(json);
  add_options(*command, a.model);
  command->callback([arguments, &action] { action = [arguments] { return bench(*arguments); }; });
}

}  // namespace v4rt::cli
