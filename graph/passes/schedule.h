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

// Everything in an order in which values are made before they are read, and memory that a node overwrites has been read
// by all who want its old content. Where there is a choice: the graph's order, and crossings just before their first
// reader, since fetching a value waits for the device that makes it.
std::vector<Work> schedule(const Placed& placed, std::span<const Crossing> crossings);

}  // namespace v4rt
