#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/device.h"
#include "graph/ir/graph.h"

namespace v4rt {

// "moe.*=cpu": nodes whose name matches the glob go to that device, if it takes them; rules are tried in order.
struct PlaceRule {
  std::string pattern;
  int device;
};

struct PlaceOptions {
  std::vector<std::shared_ptr<Device>> devices;  // [0] is the default of every node
  std::vector<PlaceRule> rules;                  // first match wins; where the device refuses, the next match is tried
  std::vector<std::pair<std::string, int>> state_devices;  // states that an earlier plan has placed stay where they are
};

// Where a node runs, and how: chosen once, and handed on to the passes that follow.
struct Choice {
  int device = 0;
  int kernel = 0;                  // for Device::make
  std::vector<TensorType> inputs;  // as the kernel takes them: weights in the layout that it wants
  std::string why = {};            // this kernel, where the device had a choice
};

struct Placed {
  Graph graph;
  std::vector<Choice> choices;        // of each node
  std::vector<std::string> refusals;  // "opencl:0 refuses L03.attn.attend: ...; placed on cpu"

  int device(NodeId node) const { return choices[static_cast<size_t>(node)].device; }
};

// Chooses a device for every node: the rules that match its name in order, then the default, then the other devices;
// the first that takes it, as it is or rewritten as smaller ops (Op::expand). The users of one state go to one device
// together: a rule that names one of them moves all. Throws Error(kUnsupported) with every reason when no device takes
// a node.
Placed place(const Graph& graph, const PlaceOptions& options);

}  // namespace v4rt
