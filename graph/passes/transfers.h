#pragma once

#include <vector>

#include "graph/ir/graph.h"
#include "graph/passes/place.h"

namespace v4rt {

// A value made on one device and read on another. There is one per value and destination, however many readers it has
// there. Inputs and weights never cross: each device that reads them gets its own copy from the host.
struct Crossing {
  ValueId value;
  int from, to;
  bool operator==(const Crossing&) const = default;
};

std::vector<Crossing> find_crossings(const Placed& placed);

}  // namespace v4rt
