#pragma once

#include <optional>
#include <vector>

#include "graph/passes/offer.h"

namespace v4rt {

// A node rewritten as smaller ones (Op::expand), and how a device would run each.
struct Expansion {
  std::vector<OpPart> parts;
  std::vector<TensorType> made;  // output 0 of each part
  std::vector<Choice> choices;
};

// Nothing when the op has no such form or the device refuses a part of it.
std::optional<Expansion> expand(const Device& device, int device_index, const Request& request);

// Puts the parts of `node` at the end of `graph`, which has the node's inputs already; the last one makes its output.
void append_parts(Graph& graph, const Node& node, const Expansion& expansion);

}  // namespace v4rt
