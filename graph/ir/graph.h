#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ops/op.h"

namespace v4rt {

using ValueId = int32_t;
using NodeId = int32_t;

enum class Origin : uint8_t {
  kInput,   // written by the host before a run
  kWeight,  // constant, bound by name
  kState,   // lives as long as the session; ops change it through aliases
  kNode,    // made by a node
};

struct Value {
  TensorType type;
  Origin origin = Origin::kNode;
  std::string name;        // inputs, weights and states: the name it is bound by; node outputs: "L03.attn.attend"
  NodeId node = -1;        // the maker, for kNode
  int output = 0;          // which of its outputs
  WeightRange range = {};  // which part of the weight this is
};

struct Node {
  OpPtr op;
  std::vector<ValueId> in, out;
  std::string name;  // "L03.attn.attend": placement rules match it
};

struct Output {
  std::string name;  // "logits"
  ValueId value;
};

// A graph is a value: passes take one and return one. Nodes are in an order that respects data dependences. State is
// SSA with aliasing: an op with Alias{o, i} returns a new version of the state it was given.
struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<Output> outputs;

  const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  const Node& node(NodeId id) const { return nodes[static_cast<size_t>(id)]; }
  ValueId find(std::string_view name, Origin origin) const;  // -1 when absent
};

// The alias by which node output `id` shares the memory of an input; nullptr if it has memory of its own.
const Alias* alias_of(const Graph& graph, ValueId id);

// The state, weight, input or node value whose memory `id` shares: follows aliases to the first version.
ValueId storage_of(const Graph& graph, ValueId id);

std::string print(const Graph& graph);  // one line per node; for people and golden tests

// Throws Error(kInternal) naming the node: order, types against infer(), one writer chain per state, no reader of an
// old version after a newer one is made, names present and unique where they bind.
void verify(const Graph& graph);

}  // namespace v4rt
