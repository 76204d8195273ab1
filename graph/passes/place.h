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

// Nodes whose name matches the glob leave a device that would take them: it has no room for them.
struct Move {
  std::string pattern;
  int device;
  std::string why;
};

struct PlaceOptions {
  std::vector<std::shared_ptr<Device>> devices;  // [0] is the default of every node
  std::vector<PlaceRule> rules;                  // the first match wins; if its device refuses, the next match is tried
  std::vector<std::pair<std::string, int>> state_devices;  // states placed by an earlier plan stay where they are
  std::vector<Move> moves;                                 // go where they would go if the device refused them
};

// Where and how a node runs: chosen once, and used by all later passes.
struct Choice {
  int device = 0;
  int kernel = 0;                  // for Device::make
  std::vector<TensorType> inputs;  // with weights in the layout that the kernel wants
  std::string why = {};            // why this kernel, if the device had a choice
};

struct Placed {
  Graph graph;
  std::vector<Choice> choices;        // of each node
  std::vector<std::string> refusals;  // "opencl:0 refuses L03.attn.attend: ...; placed on cpu"

  int device(NodeId node) const { return choices[static_cast<size_t>(node)].device; }
};

// Chooses a device for every node: the rules that match its name in order, then the default, then the other devices.
// The first one that takes it wins, as it is or rewritten as smaller ops (Op::expand). All users of a state go to the
// same device: a rule that names one of them moves all of them. Throws Error(kUnsupported) with every reason when no
// device takes a node.
Placed place(const Graph& graph, const PlaceOptions& options);

}  // namespace v4rt
