#include "examples/cli/plan_graph.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Edge {
  int from;  // step; -1 - n: input n of the plan
  size_t to;
  SlotId slot;
};

// Slots that a step reads and writes.
struct Touch {
  std::vector<SlotId> reads, writes;
};

Touch touch(const PlanStep& step) {
  if (const auto* transfer = std::get_if<Transfer>(&step)) return {{transfer->from}, {transfer->to}};
  const auto& launch = std::get<Launch>(step);
  const auto outputs = launch.args.begin() + launch.n_inputs;
  return {{launch.args.begin(), outputs}, {outputs, launch.args.end()}};
}

std::vector<Edge> edges_of(const Plan& plan) {
  std::map<SlotId, int> writer;
  for (size_t i = 0; i < plan.inputs.size(); ++i) writer[plan.inputs[i].second] = -1 - static_cast<int>(i);
  std::vector<Edge> edges;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Touch t = touch(plan.steps[i]);
    for (const SlotId slot : t.reads)
      if (const auto found = writer.find(slot); found != writer.end()) edges.push_back({found->second, i, slot});
    for (const SlotId slot : t.writes) writer[slot] = static_cast<int>(i);
  }
  return edges;
}

const Slot& slot_of(const Plan& plan, SlotId id) { return plan.slots[static_cast<size_t>(id)]; }

// Weights and states that a step reads.
Json bound_values(const Plan& plan, const PlanStep& step) {
  Json list = Json::array();
  for (const SlotId id : touch(step).reads) {
    const Slot& slot = slot_of(plan, id);
    if (slot.storage != Storage::kWeight && slot.storage != Storage::kState) continue;
    list.push_back({{"kind", slot.storage == Storage::kWeight ? "weight" : "state"},
                    {"name", slot.name},
                    {"type", to_string(slot.type)},
                    {"bytes", slot.type.bytes() + slot.type.scale_bytes()}});
  }
  return list;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out + '"';
}

std::string id_of(int step) { return step < 0 ? fmt::format("input{}", -1 - step) : fmt::format("step{}", step); }

}  // namespace

Json graph_json(const Plan& plan, std::span<const ExplainRow> rows) {
  Json inputs = Json::array(), nodes = Json::array(), edges = Json::array(), outputs = Json::array();
  for (size_t i = 0; i < plan.inputs.size(); ++i)
    inputs.push_back({{"id", id_of(-1 - static_cast<int>(i))},
                      {"name", plan.inputs[i].first},
                      {"type", to_string(slot_of(plan, plan.inputs[i].second).type)}});
  for (size_t i = 0; i < rows.size(); ++i)
    nodes.push_back({{"id", id_of(static_cast<int>(i))},
                     {"name", rows[i].node},
                     {"op", rows[i].op},
                     {"layer", rows[i].layer < 0 ? Json(nullptr) : Json(rows[i].layer)},
                     {"device", rows[i].device},
                     {"kernel", rows[i].kernel},
                     {"flops", rows[i].flops},
                     {"bound", bound_values(plan, plan.steps[i])}});
  for (const Edge& edge : edges_of(plan))
    edges.push_back({{"from", id_of(edge.from)},
                     {"to", id_of(static_cast<int>(edge.to))},
                     {"value", slot_of(plan, edge.slot).name},
                     {"type", to_string(slot_of(plan, edge.slot).type)}});
  for (const auto& [name, slot] : plan.outputs)
    outputs.push_back({{"name", name}, {"type", to_string(slot_of(plan, slot).type)}});
  return {{"inputs", inputs}, {"nodes", nodes}, {"edges", edges}, {"outputs", outputs}};
}

std::string graph_dot(const Plan& plan, std::span<const ExplainRow> rows) {
  constexpr std::array kColours = {"#cfe0fc", "#fbe0c0", "#cdeedd", "#efd3ec", "#f1e6bd", "#d3ebf5"};
  std::map<std::string, std::string_view> colours;  // by device
  std::map<int, std::string> layers;                // what is in each
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto [colour, is_new] = colours.try_emplace(rows[i].device, kColours[colours.size() % kColours.size()]);
    const std::string_view below = rows[i].kernel.empty() ? rows[i].device : rows[i].kernel;
    layers[rows[i].layer] += fmt::format("    {} [label={}, fillcolor=\"{}\"]\n", id_of(static_cast<int>(i)),
                                         in_quotes(fmt::format("{}\n{}", rows[i].node, below)), colour->second);
  }
  std::string text = "digraph plan {\n  node [shape=box, style=filled, fontname=\"sans-serif\"]\n";
  for (size_t i = 0; i < plan.inputs.size(); ++i)
    text += fmt::format("  {} [shape=ellipse, label={}]\n", id_of(-1 - static_cast<int>(i)),
                        in_quotes(plan.inputs[i].first));
  for (const auto& [layer, nodes] : layers)
    text += layer < 0 ? nodes
                      : fmt::format("  subgraph cluster_{} {{\n    label=\"layer {}\"\n{}  }}\n", layer, layer, nodes);
  for (const Edge& edge : edges_of(plan))
    text += fmt::format("  {} -> {} [tooltip={}]\n", id_of(edge.from), id_of(static_cast<int>(edge.to)),
                        in_quotes(to_string(slot_of(plan, edge.slot).type)));
  return text + "}\n";
}

}  // namespace v4rt::cli
