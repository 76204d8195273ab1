#pragma once

#include <span>
#include <string>
#include <vector>

#include "graph/passes/place.h"

namespace v4rt {

// A node with the types of its inputs and outputs; `constant` says which inputs are weights.
struct DeviceRequest {
  OpPtr op;
  std::vector<TensorType> inputs, outputs;
  std::vector<bool> constant;
};

DeviceRequest request_of(const Graph& graph, const Node& node);

// How a device would run a request: with weight matrices in the layout it wants if it can repack them and then takes
// the op, otherwise as they are. Refused if a weight is larger than the device's largest buffer.
struct Offer {
  Support support;
  std::vector<TensorType> inputs;
};
Offer ask(const Device& device, const DeviceRequest& request);

}  // namespace v4rt
