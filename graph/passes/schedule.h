#pragma once

#include <span>
#include <vector>

#include "graph/passes/transfers.h"

namespace v4rt {

// One thing to do: run a node or carry a value across.
struct Work {
  NodeId node = -1;
  int crossing = -1;
  bool operator==(const Work&) const = default;
};

// An order in which every value is made before it is read, and every reader of old content comes before the node that
// overwrites it. Otherwise the graph's order, with each crossing just before its first reader, since fetching a value
// waits for the device that makes it. What concerns devices that work while the host does something else (`alongside`,
// by device; empty: none) comes as soon as it can be enqueued, before what the host itself works on. Nodes that may be
// launched together have one number in `families` (by node, 0: alone; empty: all are) and wait for each other, as long
// as there is something else to do; of families the lowest comes first.
std::vector<Work> schedule(const Placed& placed, std::span<const Crossing> crossings,
                           const std::vector<bool>& alongside = {}, const std::vector<int>& families = {});

}  // namespace v4rt
