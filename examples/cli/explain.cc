#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/report.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

struct ExplainArguments {
  ModelArguments model;
  int tokens = 1;
  int64_t position = -1;
  bool json = false;
};

// What --fast chose between kernels, each choice once.
std::vector<std::string> choices(const Explanation& e) {
  std::vector<std::string> list;
  for (const ExplainRow& row : e.rows)
    if (!row.why.empty() && std::ranges::find(list, row.why) == list.end()) list.push_back(row.why);
  return list;
}

ExplainRow total(const Explanation& e) {
  ExplainRow sum{};
  for (const ExplainRow& row : e.rows) {
    sum.weight_bytes += row.weight_bytes;
    sum.state_bytes += row.state_bytes;
    sum.io_bytes += row.io_bytes;
    sum.flops += row.flops;
  }
  return sum;
}

std::vector<std::string> numbers(const ExplainRow& row) {
  return {human_bytes(row.weight_bytes), human_bytes(row.state_bytes), human_bytes(row.io_bytes),
          human_count(row.flops)};
}

std::string to_text(const Explanation& e) {
  std::vector<std::vector<std::string>> cells = {{"node", "device", "kernel", "weights", "state", "in+out", "FLOP"}};
  const auto add = [&](std::vector<std::string> row, const ExplainRow& costs) {
    for (std::string& number : numbers(costs)) row.push_back(std::move(number));
    cells.push_back(std::move(row));
  };
  for (const ExplainRow& row : e.rows) add({row.node, row.device, row.kernel}, row);
  add({"total", "", ""}, total(e));

  std::string text = fmt::format("A step of {} token{} at position {}:\n\n", e.segment.n_tokens,
                                 e.segment.n_tokens == 1 ? "" : "s", e.segment.position);
  text += table(cells, "<<<>>>>");
  text += fmt::format("\n{} launches, {} transfers between devices, {} weights kept in another layout\n", e.launches(),
                      e.transfers(), e.plan.rebinds.size());
  text += fmt::format("chunk    {} tokens of a prompt at once\n", e.model.options().chunk);
  text += fmt::format("arena    {} per session\n", human_bytes(e.model.arena_bytes()));
  text += fmt::format("state    {} per session, for {} positions\n", human_bytes(e.model.state_bytes()),
                      e.model.options().context);
  text += fmt::format("weights  {}\n", human_bytes(e.model.weight_bytes()));
  if (const auto chosen = choices(e); !chosen.empty())
    text += fmt::format("choices\n  {}\n", fmt::join(chosen, "\n  "));
  text += e.plan.refusals.empty() ? "refusals none\n" : "refusals\n";
  for (const std::string& refusal : e.plan.refusals) text += fmt::format("  {}\n", refusal);
  return text;
}

int explain_model(const ExplainArguments& arguments) {
  const Checkpoint checkpoint = open_files(arguments.model);
  const int64_t needed = std::max<int64_t>(arguments.position, 0) + arguments.tokens;
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  const auto model = open_model(checkpoint, arguments.model, needed);
  const ModelOptions& options = model->options();
  if (arguments.tokens > options.chunk)
    throw UsageError(
        fmt::format("--tokens {}: a step has at most {} tokens; raise --chunk", arguments.tokens, options.chunk));

  const int64_t position = arguments.position >= 0 ? arguments.position : options.context - arguments.tokens;
  const Explanation explanation(*model, arguments.tokens, position);
  print(arguments.json ? json_text(explain_report(explanation)) : to_text(explanation));
  return kSuccess;
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ExplainArguments>();
  CLI::App* command = app.add_subcommand(
      "explain",
      "Show how a model runs on a device: every node, its device, kernel and costs, each refusal, and the memory.");
  add_model(*command, arguments->model);
  command
      ->add_option("--tokens", arguments->tokens,
                   "Of the step that is explained: 1 is decoding, more is reading a prompt")
      ->transform(between(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--position", arguments->position, "Where the step begins (default: at the end of the context)")
      ->transform(between(int64_t{0}, int64_t{1} << 30));
  command->add_flag("--json", arguments->json, "Print JSON");
  add_options(*command, arguments->model);
  command->callback([arguments, &action] { action = [arguments] { return explain_model(*arguments); }; });
}

}  // namespace v4rt::cli
