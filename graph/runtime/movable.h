#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/plan/plan.h"

namespace v4rt {

// Nodes that leave a device together, and what they hold there.
struct Movable {
  std::string pattern;  // of their names: "L03.ffn.experts.*", "L03.*", "head"
  size_t bytes = 0;     // of weights and states
};

// What the plans hold on a device, in the order in which it leaves when there is no room for all: first that of which a
// token reads little, tables and routed experts; then whole layers. Of each kind the last goes first, so that the
// layers that stay follow one another. `held` says what a weight or a state takes.
std::vector<Movable> movable_from(int device, std::span<const Plan* const> plans,
                                  const std::function<size_t(const Slot& slot)>& held);

}  // namespace v4rt
