#include "graph/ir/graph.h"

namespace v4rt {

ValueId Graph::find(std::string_view name, Origin origin) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].origin == origin && values[i].name == name) return static_cast<ValueId>(i);
  }
  return -1;
}

const Alias* alias_of(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (value.origin != Origin::kNode) return nullptr;
  for (const Alias& alias : graph.node(value.node).op->aliases()) {
    if (alias.output == value.output) return &alias;
  }
  return nullptr;
}

ValueId storage_of(const Graph& graph, ValueId id) {
  while (const Alias* alias = alias_of(graph, id)) {
    id = graph.node(graph.value(id).node).in[static_cast<size_t>(alias->input)];
  }
  return id;
}

}  // namespace v4rt
