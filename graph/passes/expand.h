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

// Empty if the op cannot be expanded or the device refuses a part.
std::optional<Expansion> expand(const Device& device, int device_index, const DeviceRequest& request);

// Appends the parts of `node` to `graph`, which already has the node's inputs; the last part makes its output.
void append_parts(Graph& graph, const Node& node, const Expansion& expansion);

}  // namespace v4rt
