#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/output_file.h"
#include "examples/cli/plan_graph.h"
#include "examples/cli/terminal.h"
#include "graph/evidence/time_model.h"
#include "graph/runtime/kernel_form.h"
#include "graph/runtime/profiles.h"
#include "graph/runtime/report.h"
#include "loaders/files/json_document.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

struct ExplainArguments {
  ModelArguments model;
  int tokens = 1;
  int64_t position = -1;
  bool json = false, predict = false;
  std::string graph, figures;
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

// Of one kind of op: what runs on the first device, and all of it.
struct Native {
  int64_t launches = 0, all_launches = 0;
  double flops = 0, all_flops = 0, bytes = 0, all_bytes = 0;

  void add(const ExplainRow& row, bool native) {
    const double touched = row.weight_bytes + row.state_bytes + row.io_bytes;
    launches += native ? 1 : 0, ++all_launches;
    flops += native ? row.flops : 0, all_flops += row.flops;
    bytes += native ? touched : 0, all_bytes += touched;
  }
};

// By op, and of all of them as "total"; transfers are none.
std::map<std::string, Native> native_shares(const Explanation& e) {
  const std::string& device = e.plan.devices.front()->info().name;
  std::map<std::string, Native> shares;
  for (size_t i = 0; i < e.rows.size(); ++i) {
    const auto* launch = std::get_if<Launch>(&e.plan.steps[i]);
    if (launch == nullptr) continue;
    for (const std::string& key : {std::string(name(launch->op->kind())), std::string("total")})
      shares[key].add(e.rows[i], e.rows[i].device == device);
  }
  return shares;
}

std::string native_text(const Explanation& e) {
  const auto percent = [](double part, double whole) {
    return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "-";
  };
  const std::map<std::string, Native> shares = native_shares(e);
  const Native& total = shares.at("total");
  std::vector<std::vector<std::string>> cells = {{"op", "launches", "FLOP", "of all", "bytes", "of all"}};
  for (const auto& [op, n] : shares)
    cells.push_back({op, fmt::format("{} of {}", n.launches, n.all_launches), percent(n.flops, n.all_flops),
                     percent(n.flops, total.all_flops), percent(n.bytes, n.all_bytes),
                     percent(n.bytes, total.all_bytes)});
  return fmt::format("what {} runs itself, of each op and of the whole step\n\n{}", e.plan.devices.front()->info().name,
                     table(cells, "<>>>>>"));
}

nlohmann::ordered_json native_json(const Explanation& e) {
  nlohmann::ordered_json json;
  for (const auto& [op, n] : native_shares(e))
    json[op] = {{"launches", n.launches}, {"all_launches", n.all_launches},
                {"flops", n.flops},       {"all_flops", n.all_flops},
                {"bytes", n.bytes},       {"all_bytes", n.all_bytes}};
  return json;
}

// Each device's, in the order of the plan; of the first one those that are said, if there are any.
std::vector<DeviceFigures> figures_of(const Explanation& e, const std::string& said) {
  std::vector<DeviceFigures> figures;
  for (const auto& device : e.plan.devices) {
    if (figures.empty() && !said.empty()) {
      figures.push_back(described_figures(said));
      continue;
    }
    const DeviceInfo info = without_profile(device->info());  // which was measured
    const auto kept = kept_figures(cache_folder(), info);
    check(kept.has_value(), Code::kNotFound,
          "--predict: {} was not measured: do that once with 'v4rt devices --measure --device {}'", info.name,
          info.name);
    figures.push_back(*kept);
  }
  return figures;
}

// Of the launches of one op with one type of weights on one device, or of transfers.
struct Share {
  int64_t launches = 0;
  double seconds = 0;
  std::map<std::string_view, double> bounds;  // seconds that each takes most of
};

std::map<std::string, Share> predicted_shares(const Explanation& e, const std::vector<PredictedTime>& times) {
  std::map<std::string, Share> shares;
  for (size_t i = 0; i < times.size(); ++i) {
    Share& share = shares[cost_label(e.plan, i)];
    const Join* join = join_of(e.plan, i);
    if (join == nullptr || join->first == i) ++share.launches;
    share.seconds += times[i].seconds;
    share.bounds[times[i].bound] += times[i].seconds;
  }
  return shares;
}

std::string_view main_bound(const Share& share) {
  return std::ranges::max_element(share.bounds, {}, [](const auto& bound) { return bound.second; })->first;
}

double sum(const std::vector<PredictedTime>& times) {
  return std::accumulate(times.begin(), times.end(), 0.0,
                         [](double s, const PredictedTime& t) { return s + t.seconds; });
}

std::string predicted_text(const Explanation& e, const std::vector<PredictedTime>& times) {
  const auto shares = predicted_shares(e, times);
  std::vector<std::pair<std::string, Share>> by_time(shares.begin(), shares.end());
  std::ranges::sort(by_time, std::greater{}, [](const auto& entry) { return entry.second.seconds; });
  const double all = sum(times);
  std::vector<std::vector<std::string>> cells = {{"op", "launches", "us", "share", "bound by"}};
  for (const auto& [op, share] : by_time)
    cells.push_back({op, fmt::format("{}", share.launches), fmt::format("{:.2f}", 1e6 * share.seconds),
                     fmt::format("{:.1f} %", 100 * share.seconds / all), std::string(main_bound(share))});
  return fmt::format(
      "predicted: {:.3f} ms, {:.2f} tokens/s (what devices were measured to do, or are said to; a model, no "
      "measurement)\n\n{}",
      1e3 * all, e.segment.n_tokens / all, table(cells, "<>>><"));
}

nlohmann::ordered_json predicted_json(const Explanation& e, const std::vector<PredictedTime>& times) {
  nlohmann::ordered_json ops;
  for (const auto& [op, share] : predicted_shares(e, times))
    ops[op] = {{"launches", share.launches}, {"seconds", share.seconds}, {"bound", main_bound(share)}};
  return {{"seconds", sum(times)}, {"tokens_per_s", e.segment.n_tokens / sum(times)}, {"ops", std::move(ops)}};
}

std::string to_text(const Explanation& e, bool profiled, const std::vector<PredictedTime>& times) {
  std::vector<std::vector<std::string>> cells = {{"node", "device", "kernel", "weights", "state", "in+out", "FLOP"}};
  const auto add = [&](std::vector<std::string> row, const ExplainRow& costs) {
    for (std::string& number : numbers(costs)) row.push_back(std::move(number));
    cells.push_back(std::move(row));
  };
  for (const ExplainRow& row : e.rows)
    add({row.node, row.device, row.joined.empty() ? row.kernel : fmt::format("{}, with {}", row.kernel, row.joined)},
        row);
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
  for (const auto& device : e.plan.devices)
    if (const auto form = kernel_form(cache_folder(), device->info()))
      text += fmt::format("kernels  of {} on {}\n", device->info().name, to_string(*form));
  if (const auto chosen = choices(e); !chosen.empty())
    text += fmt::format("choices\n  {}\n", fmt::join(chosen, "\n  "));
  if (profiled) text += "\n" + native_text(e) + "\n";
  if (!times.empty()) text += "\n" + predicted_text(e, times) + "\n";
  text += e.plan.refusals.empty() ? "refusals none\n" : "refusals\n";
  for (const std::string& refusal : e.plan.refusals) text += fmt::format("  {}\n", refusal);
  return text;
}

void write_graph(OutputFile& file, const Explanation& e) {
  const bool json = file.path().ends_with(".json");
  const std::string text = json ? json_text(graph_json(e.plan, e.rows)) : graph_dot(e.plan, e.rows);
  file.append(std::as_bytes(std::span(text)));
  file.commit();
}

int explain_model(const ExplainArguments& arguments) {
  const Checkpoint checkpoint = open_files(arguments.model);
  const int64_t needed = std::max<int64_t>(arguments.position, 0) + arguments.tokens;
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // from here on a file would be left behind
  std::optional<OutputFile> graph;
  if (!arguments.graph.empty()) graph.emplace(arguments.graph, input_files(checkpoint, arguments.model));
  const auto model = open_model(checkpoint, arguments.model, needed);
  const ModelOptions& options = model->options();
  if (arguments.tokens > options.chunk)
    throw UsageError(
        fmt::format("--tokens {}: a step has at most {} tokens; raise --chunk", arguments.tokens, options.chunk));

  const int64_t position = arguments.position >= 0 ? arguments.position : options.context - arguments.tokens;
  const Explanation explanation(*model, arguments.tokens, position);
  if (graph) write_graph(*graph, explanation);
  const bool profiled = !arguments.model.profile.empty();
  OrderedJson json = explain_report(explanation);
  if (profiled) json["native"] = native_json(explanation);
  std::vector<PredictedTime> times;
  if (arguments.predict) {
    times = predict(explanation.plan, explanation.rows, figures_of(explanation, arguments.figures));
    json["predicted"] = predicted_json(explanation, times);
  }
  print(arguments.json ? json_text(json) : to_text(explanation, profiled, times));
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
  auto* predicts = command->add_flag(
      "--predict", arguments->predict,
      "Also how long the step would take, by its costs and by what 'v4rt devices --measure' found the devices to do");
  command
      ->add_option(
          "--figures", arguments->figures,
          "With --predict, what the device is said to do in place of what it does: a JSON file with read_gbs and "
          "f32_gflops, and others that 'v4rt devices --json' shows as measured")
      ->check(nonempty())
      ->needs(predicts);
  command->add_flag("--json", arguments->json, "Print JSON");
  command
      ->add_option("--graph", arguments->graph,
                   "Also write the plan as a graph to this file: JSON if its name ends so, otherwise DOT for Graphviz")
      ->check(nonempty());
  add_options(*command, arguments->model);
  command->callback([arguments, &action] { action = [arguments] { return explain_model(*arguments); }; });
}

}  // namespace v4rt::cli
