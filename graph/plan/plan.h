#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backend/device.h"
#include "graph/ir/graph.h"

namespace v4rt {

// Where the bytes of one value of a plan live.
enum class Storage : uint8_t { kArena, kIo, kState, kWeight };

struct Slot {
  TensorType type;
  int device = 0;  // index into Plan::devices
  Storage storage = Storage::kArena;
  std::string name;        // the name that weights, states and inputs are bound by; otherwise for people
  WeightRange range = {};  // kWeight: which part of it
  size_t offset = 0;       // kArena: in that device's arena
  size_t scale_offset = 0;
};

using SlotId = int32_t;

struct Launch {
  int device = 0;
  std::unique_ptr<Kernel> kernel;
  std::vector<SlotId> args;  // inputs, outputs[, scratch]
  std::string node;          // "L03.attn.attend"
  OpPtr op;
  int n_inputs = 0;
  std::string why = {};  // why this kernel, if the device had a choice
};

// Launches that follow each other on one device, done by one kernel. Its arguments are theirs, one after the other.
struct Join {
  size_t first, count;  // of Plan::steps
  std::unique_ptr<Kernel> kernel;
};

struct Transfer {
  SlotId from, to;
};

using PlanStep = std::variant<Launch, Transfer>;

// A weight that a device wants in another layout: `op` (a repack) runs when weights are bound, and only then.
struct Rebind {
  SlotId slot;  // its type has the new layout, its name is the weight's
  OpPtr op;
};

// A flat list of launches over memory that was laid out in advance. Owns the kernels, but no memory.
struct Plan {
  std::vector<std::shared_ptr<Device>> devices;
  std::vector<Slot> slots;
  std::vector<PlanStep> steps;
  std::vector<Join> joins;  // in order; who looks at each step runs them one by one, with the same bits
  std::vector<Rebind> rebinds;
  std::vector<size_t> arena_bytes;                     // per device
  std::vector<std::pair<std::string, SlotId>> inputs;  // one per device that reads it: the host writes each
  std::vector<std::pair<std::string, SlotId>> outputs;
  std::vector<std::string> refusals;  // "opencl:0 refuses L03.attn.attend: ...; placed on cpu"
};

const Join* join_of(const Plan& plan, size_t step);        // that the step is in; nullptr: it is launched by itself
std::string nodes_of(const Plan& plan, const Join& join);  // "L03.attn.q_norm + L03.attn.wq_b.fake_quant"

// The first and last step that touches each slot, where those that are joined are one; first > last: none.
struct Live {
  int first, last;
};
std::vector<Live> live_ranges(const Plan& plan);

// For people: every launch and transfer in order, with device, kernel, bytes and FLOP of one run with `step`.
struct ExplainRow {
  std::string node, op, device, kernel;
  double weight_bytes, state_bytes, io_bytes, flops;
  std::string why = {};     // Launch::why
  int layer = -1;           // that the node is in; -1: in none
  std::string joined = {};  // the first of the nodes that are launched with it, if it is not the first itself
};
std::vector<ExplainRow> explain(const Plan& plan, const Step& step);

int layer_of(std::string_view node);  // 3 of "L03.attn.attend"; -1 of what is in no layer

}  // namespace v4rt
