#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/device.h"
#include "graph/ir/graph.h"
#include "graph/plan/plan.h"

namespace v4rt {

struct Placement {
  std::vector<int> device;            // of each node
  std::vector<std::string> refusals;  // "opencl:0 refuses L03.attn.attend: ...; placed on cpu"
};

// Chooses a device for every node: the rules that match its name in order, then the default, then the other devices;
// the first that takes it. The users of one state go to one device together: a rule that names one of them moves all.
// Throws Error(kUnsupported) with every reason when no device takes a node.
Placement place(const Graph& graph, const CompileOptions& options);

// "L0?.moe.*": * is any run of characters, ? is any one.
bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace v4rt
