#include "examples/cli/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "examples/cli/compare_page.h"
#include "examples/cli/format.h"
#include "graph/plan/plan.h"
#include "loaders/text/utf8.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

using Json = nlohmann::ordered_json;
using Cells = std::vector<std::vector<std::string>>;

std::string verdict(const CompareReport& report, const Compared& device) {
  if (&device == report.devices.data()) return "what the others are compared with";
  if (!device.ops) return device.ops_note;
  if (!device.ops->first) return "equal bits";
  const OpError& op = device.ops->ops[*device.ops->first];
  return fmt::format("parts at {} ({}), position {}", op.node, op.op, op.first_position);
}

// The run of that kind; with --fast the one that has it, which is the last. nullptr: there is none.
const Measurement* run_of(const Compared& device, std::string_view kind) {
  const Measurement* run = nullptr;
  for (const Measurement& m : device.bench.measurements)
    if (m.kind == kind) run = &m;
  return run;
}

std::string speed(const Compared& device, std::string_view kind) {
  const Measurement* m = run_of(device, kind);
  return m == nullptr ? "-" : fmt::format("{:.2f}", median(m->tokens_per_s()));
}

std::string device_table(const CompareReport& report) {
  Cells cells = {{"device", "prefill tok/s", "decode tok/s", "weights", "working", "numbers"}};
  for (const Compared& device : report.devices) {
    cells.push_back({device.name, speed(device, "prefill"), speed(device, "decode"), human_bytes(device.memory.weights),
                     human_bytes(device.memory.arena), verdict(report, device)});
  }
  return table(cells, "<>>>><");
}

const std::vector<std::string> kLogitHeadings = {"equal logits", "same best", "first difference",
                                                 "largest",      "mean KL",   "largest KL"};

std::vector<std::string> logit_cells(const LogitError& e) {
  return {fmt::format("{} of {}", e.equal, e.positions),
          fmt::format("{:.1f} %", 100.0 * static_cast<double>(e.same_best) / static_cast<double>(e.positions)),
          e.first < 0 ? "none" : fmt::format("position {}", e.first),
          fmt::format("{:.3g}", e.largest),
          fmt::format("{:.3g}", e.mean_divergence()),
          fmt::format("{:.3g}", e.largest_divergence)};
}

std::string text_table(const CompareReport& report) {
  Cells cells = {{"device"}};
  std::ranges::copy(kLogitHeadings, std::back_inserter(cells[0]));
  cells[0].emplace_back("said alike");
  for (const Compared& device : report.devices) {
    if (!device.text) continue;
    const TextComparison& t = *device.text;
    cells.push_back({device.name});
    std::ranges::move(logit_cells(t.logits), std::back_inserter(cells.back()));
    cells.back().push_back(fmt::format("{}{} tokens", t.said_alike == t.said ? "all " : "", t.said_alike));
  }
  return table(cells, "<>>>>>>>");
}

std::string golden_table(const CompareReport& report) {
  Cells cells = {{"device", "text"}};
  std::ranges::copy(kLogitHeadings, std::back_inserter(cells[0]));
  for (const Compared& device : report.devices) {
    for (const auto& [text, error] : device.golden) {
      cells.push_back({device.name, escaped(text)});
      std::ranges::move(logit_cells(error), std::back_inserter(cells.back()));
    }
  }
  return fmt::format("beside {}\n\n{}", escaped(report.against), table(cells, "<<>>>>>>"));
}

// Microseconds a token of each op, a column for each device.
std::string time_table(const CompareReport& report, std::string_view kind) {
  std::map<std::string, std::vector<double>> by_op;
  Cells cells = {{fmt::format("{}, us/token", kind)}};
  std::string alignment = "<";
  for (size_t i = 0; i < report.devices.size(); ++i) {
    cells[0].push_back(report.devices[i].name);
    alignment += '>';
    const Measurement* m = run_of(report.devices[i], kind);
    for (size_t o = 0; m != nullptr && o < m->ops.size(); ++o) {
      std::vector<double>& row = by_op[m->ops[o].op];
      row.resize(report.devices.size());
      row[i] = 1e6 * m->ops[o].seconds / static_cast<double>(m->tokens);
    }
  }
  std::vector<std::pair<std::string, std::vector<double>>> rows(by_op.begin(), by_op.end());
  std::ranges::stable_sort(rows, [](const auto& a, const auto& b) { return a.second[0] > b.second[0]; });
  for (const auto& [op, times] : rows) {
    cells.push_back({op});
    for (const double time : times) cells.back().push_back(time > 0 ? fmt::format("{:.2f}", time) : "-");
  }
  return table(cells, alignment);
}

// The ops that differ, the worst first.
std::string error_table(const Compared& device) {
  constexpr size_t kMost = 12;
  std::vector<const OpError*> worst;
  for (const OpError& op : device.ops->ops)
    if (!op.error.equal()) worst.push_back(&op);
  std::ranges::stable_sort(
      worst, [](const OpError* a, const OpError* b) { return a->error.normalised() > b->error.normalised(); });
  Cells cells = {{"node", "kernel", "differ", "normalised error", "largest", "from position"}};
  for (size_t i = 0; i < std::min(kMost, worst.size()); ++i) {
    const OpError& op = *worst[i];
    cells.push_back({op.node, op.kernel, fmt::format("{} of {}", op.error.different, op.error.values),
                     fmt::format("{:.3g}", op.error.normalised()), fmt::format("{:.3g}", op.error.largest),
                     fmt::format("{}", op.first_position)});
  }
  std::string text = fmt::format("{}: {} of {} ops differ, each with the inputs it should have", device.name,
                                 worst.size(), device.ops->ops.size());
  if (worst.size() > kMost) text += fmt::format("; the {} worst", kMost);
  return text + "\n\n" + table(cells, "<<>>>>");
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const OpError& op) {
  return {{"node", op.node},
          {"op", op.op},
          {"layer", layer_of(op.node)},
          {"device", op.device},
          {"kernel", op.kernel},
          {"values", op.error.values},
          {"different", op.error.different},
          {"largest_error", op.error.largest},
          {"normalised_error", number(op.error.normalised())},
          {"ulps", op.error.ulps},
          {"first_position", op.first_position < 0 ? Json(nullptr) : Json(op.first_position)}};
}

Json to_json(const OpComparison& ops) {
  Json json = {{"equal", !ops.first.has_value()},
               {"first", ops.first ? Json(ops.ops[*ops.first].node) : Json(nullptr)},
               {"ulp_limits", ValueError::kUlps},
               {"unmatched", ops.unmatched},
               {"nodes", Json::array()}};
  for (const OpError& op : ops.ops) json["nodes"].push_back(to_json(op));
  return json;
}

Json to_json(const LogitError& e) {
  return {{"positions", e.positions},
          {"equal", e.equal},
          {"first_difference", e.first < 0 ? Json(nullptr) : Json(e.first)},
          {"same_best", e.same_best},
          {"largest_difference", number(e.largest)},
          {"mean_kl", number(e.mean_divergence())},
          {"largest_kl", number(e.largest_divergence)}};
}

Json to_json(const TextComparison& t) {
  Json json = to_json(t.logits);
  json["continued"] = t.said;
  json["continued_alike"] = t.said_alike;
  return json;
}

Json golden_json(const Compared& device) {
  Json json = Json::array();
  for (const auto& [text, error] : device.golden) {
    json.push_back({{"name", text}});
    json.back().update(to_json(error));
  }
  return json;
}

Json to_json(const MemoryMap& memory) {
  Json json = {{"weight_bytes", memory.weights},
               {"state_bytes", memory.state},
               {"arena_bytes", memory.arena},
               {"steps", memory.steps},
               {"values", Json::array()}};
  for (const PlacedValue& v : memory.values) {
    json["values"].push_back({{"name", v.name},
                              {"device", v.device},
                              {"offset", v.offset},
                              {"bytes", v.bytes},
                              {"first", v.first},
                              {"last", v.last}});
  }
  return json;
}

Json to_json(const CompareReport& report, const Compared& device) {
  return {{"name", device.name},
          {"verdict", verdict(report, device)},
          {"ops", device.ops ? to_json(*device.ops) : Json(nullptr)},
          {"ops_note", device.ops_note.empty() ? Json(nullptr) : Json(device.ops_note)},
          {"text", device.text ? to_json(*device.text) : Json(nullptr)},
          {"golden", golden_json(device)},
          {"memory", to_json(device.memory)},
          {"bench", to_json(device.bench)}};
}

}  // namespace

MemoryMap memory_map(const Model& model, int tokens) {
  const Plan& plan = model.plan(tokens, LogitsOf::kLastRows);
  const std::vector<Live> live = live_ranges(plan);
  MemoryMap map{.weights = model.weight_bytes(),
                .state = model.state_bytes(),
                .arena = model.arena_bytes(),
                .steps = plan.steps.size(),
                .values = {}};
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const Slot& slot = plan.slots[i];
    if (slot.storage != Storage::kArena || live[i].first > live[i].last) continue;
    map.values.push_back({slot.name, plan.devices[static_cast<size_t>(slot.device)]->info().name, slot.offset,
                          slot.type.bytes(), live[i].first, live[i].last});
  }
  return map;
}

std::string to_text(const CompareReport& report) {
  std::string text = fmt::format("{}, commit {}; ops over {} tokens read at once and {} decoded; {}, {} tokens\n\n",
                                 report.model, report.commit, report.prompt, report.decoded, report.text, report.ids);
  text += device_table(report);
  if (report.devices.size() > 1) text += "\n" + text_table(report);
  if (!report.against.empty()) text += "\n" + golden_table(report);
  for (const std::string_view kind : {"prefill", "decode"}) text += "\n" + time_table(report, kind);
  for (const Compared& device : report.devices)
    if (device.ops && device.ops->first) text += "\n" + error_table(device);
  return text;
}

Json to_json(const CompareReport& report) {
  Json json = {{"model", report.model},
               {"commit", report.commit},
               {"text", report.text},
               {"text_tokens", report.ids},
               {"prompt_tokens", report.prompt},
               {"decoded_tokens", report.decoded},
               {"against", report.against.empty() ? Json(nullptr) : Json(report.against)},
               {"devices", Json::array()}};
  for (const Compared& device : report.devices) json["devices"].push_back(to_json(report, device));
  return json;
}

std::string to_page(const CompareReport& report) {
  std::string data = to_json(report).dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  // Inside of a script element only "</" would end it.
  for (size_t at = 0; (at = data.find("</", at)) != std::string::npos; at += 3) data.replace(at, 2, "<\\/");
  std::string page(compare_page());
  constexpr std::string_view kPlace = "REPORT_DATA";
  return page.replace(page.find(kPlace), kPlace.size(), data);
}

}  // namespace v4rt::cli
