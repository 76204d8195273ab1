#include <fmt/format.h>

#include "graph/ir/graph.h"

namespace v4rt {
namespace {

std::string_view word(Origin origin) {
  switch (origin) {
    case Origin::kInput: return "input";
    case Origin::kWeight: return "weight";
    case Origin::kState: return "state";
    case Origin::kNode: break;
  }
  return "node";
}

std::string list(std::span<const ValueId> ids) {
  std::string text;
  for (const ValueId id : ids) text += fmt::format("{}%{}", text.empty() ? "" : ", ", id);
  return text;
}

}  // namespace

std::string print(const Graph& graph) {
  std::string text;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.values[i];
    if (value.origin == Origin::kNode) continue;
    text += fmt::format("{} %{} {}: {}\n", word(value.origin), i, value.name, to_string(value.type));
  }
  for (const Node& node : graph.nodes) {
    std::string types;
    for (const ValueId id : node.out) types += (types.empty() ? "" : ", ") + to_string(graph.value(id).type);
    text += fmt::format("{} = {} {}({}): {}\n", list(node.out), node.name, node.op->describe(), list(node.in), types);
  }
  for (const Output& output : graph.outputs) text += fmt::format("output {} = %{}\n", output.name, output.value);
  return text;
}

}  // namespace v4rt
