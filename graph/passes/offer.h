#pragma once

#include <span>
#include <string>
#include <vector>

#include "graph/passes/place.h"

namespace v4rt {

// A node with the types of its inputs and outputs; `constant` says which inputs are weights.
struct Request {
  OpPtr op;
  std::vector<TensorType> inputs, outputs;
  std::vector<bool> constant;
};

Request request_of(const Graph& graph, const Node& node);

// How a device would run a request: weight matrices in the layout that it wants when it can repack them and takes the
// op like that, otherwise as they are. Refused when a weight is larger than one of the device's buffers may be.
struct Offer {
  Support support;
  std::vector<TensorType> inputs;
};
Offer ask(const Device& device, const Request& request);

}  // namespace v4rt
