#include "graph/passes/transfers.h"

#include <set>

namespace v4rt {

std::vector<Crossing> find_crossings(const Placed& placed) {
  const Graph& graph = placed.graph;
  std::vector<Crossing> crossings;
  std::set<std::pair<ValueId, int>> seen;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const int to = placed.device(static_cast<NodeId>(i));
    for (const ValueId id : graph.nodes[i].in) {
      const Value& value = graph.value(id);
      if (value.origin != Origin::kNode) continue;
      const int from = placed.device(value.node);
      if (from != to && seen.insert({id, to}).second) crossings.push_back({id, from, to});
    }
  }
  return crossings;
}

}  // namespace v4rt
