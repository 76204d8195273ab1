#include "graph/plan/compile.h"

#include <algorithm>
#include <map>

#include "backend/overlap.h"
#include "graph/passes/layouts.h"
#include "graph/passes/memory_plan.h"
#include "graph/passes/schedule.h"
#include "graph/passes/transfers.h"
#include "graph/plan/join.h"

namespace v4rt {
namespace {

// Turns a lowered graph with its placement and schedule into slots and steps.
class Assembler {
 public:
  Assembler(const Placed& placed, Plan& plan) : placed_(placed), graph_(placed.graph), plan_(plan) {}

  void add(const Work& work, std::span<const Crossing> crossings) {
    if (work.crossing >= 0) {
      const Crossing& c = crossings[static_cast<size_t>(work.crossing)];
      const SlotId from = slot(c.value, c.from);
      plan_.steps.emplace_back(Transfer{from, slot(c.value, c.to)});
    } else if (!runs_at_bind(graph_, graph_.node(work.node))) {
      plan_.steps.emplace_back(launch(work.node));
    }
  }

  void outputs() {
    for (const Output& output : graph_.outputs) {
      const Value& value = graph_.value(output.value);
      const int device = value.origin == Origin::kNode ? device_of(value.node) : 0;
      const SlotId id = slot(output.value, device);
      Slot& s = plan_.slots[static_cast<size_t>(id)];
      if (s.storage == Storage::kArena) s.storage = Storage::kIo;
      plan_.outputs.emplace_back(output.name, id);
    }
  }

 private:
  int device_of(NodeId node) const { return placed_.device(node); }

  Launch launch(NodeId id) {
    const Node& node = graph_.node(id);
    Launch out{.device = device_of(id),
               .kernel = nullptr,
               .args = {},
               .node = node.name,
               .op = node.op,
               .n_inputs = static_cast<int>(node.in.size())};
    const Choice& choice = placed_.choices[static_cast<size_t>(id)];
    out.why = choice.why;
    std::vector<TensorType> inputs, outputs;
    for (const ValueId v : node.in) inputs.push_back(graph_.value(v).type);
    for (const ValueId v : node.out) outputs.push_back(graph_.value(v).type);
    out.kernel = plan_.devices[static_cast<size_t>(out.device)]->make({*node.op, inputs, outputs}, choice.kernel);
    for (const ValueId v : node.in) out.args.push_back(slot(v, out.device));
    for (const ValueId v : node.out) out.args.push_back(slot(v, out.device));
    if (const size_t bytes = out.kernel->scratch_bytes; bytes > 0) {
      const TensorType type{.dtype = DType::kU8, .shape = {static_cast<int64_t>(bytes)}};
      out.args.push_back(append({.type = type, .device = out.device, .name = node.name + ".scratch"}));
    }
    return out;
  }

  SlotId append(Slot slot) {
    plan_.slots.push_back(std::move(slot));
    return static_cast<SlotId>(plan_.slots.size()) - 1;
  }

  // The slot of the value on `device`: that of the value it overwrites, if the overwriting happens there.
  SlotId slot(ValueId id, int device) {
    while (const Alias* alias = alias_of(graph_, id)) {
      const Value& value = graph_.value(id);
      if (device_of(value.node) != device) break;
      id = graph_.node(value.node).in[static_cast<size_t>(alias->input)];
    }
    if (const auto found = slots_.find({id, device}); found != slots_.end()) return found->second;
    return slots_[{id, device}] = make_slot(id, device);
  }

  SlotId make_slot(ValueId id, int device) {
    const Value& value = graph_.value(id);
    Slot slot{.type = value.type, .device = device, .name = value.name, .range = value.range};
    if (value.origin == Origin::kInput) slot.storage = Storage::kIo;
    if (value.origin == Origin::kState) slot.storage = Storage::kState;
    if (value.origin == Origin::kWeight) slot.storage = Storage::kWeight;
    const Node* maker = value.origin == Origin::kNode ? &graph_.node(value.node) : nullptr;
    const bool repacked = maker != nullptr && runs_at_bind(graph_, *maker);
    if (repacked) {
      slot.storage = Storage::kWeight;
      slot.name = graph_.value(maker->in[0]).name;
      slot.range = graph_.value(maker->in[0]).range;
    }
    const SlotId made = append(std::move(slot));
    if (repacked) plan_.rebinds.push_back({made, maker->op});
    if (value.origin == Origin::kInput) plan_.inputs.emplace_back(value.name, made);
    return made;
  }

  const Placed& placed_;
  const Graph& graph_;
  Plan& plan_;
  std::map<std::pair<ValueId, int>, SlotId> slots_;
};

// Offsets of the arena slots of each device. Queues run in order, so step order is the order in which memory is used.
void lay_out_arenas(Plan& plan) {
  const std::vector<Live> live = live_ranges(plan);
  plan.arena_bytes.assign(plan.devices.size(), 0);
  for (size_t device = 0; device < plan.devices.size(); ++device) {
    std::vector<ArenaRequest> requests;
    std::vector<size_t*> offsets;
    for (size_t i = 0; i < plan.slots.size(); ++i) {
      Slot& slot = plan.slots[i];
      if (slot.storage != Storage::kArena || slot.device != static_cast<int>(device)) continue;
      requests.push_back({slot.type.bytes(), live[i].first, live[i].last});
      offsets.push_back(&slot.offset);
      if (slot.type.scale_bytes() == 0) continue;
      requests.push_back({slot.type.scale_bytes(), live[i].first, live[i].last});
      offsets.push_back(&slot.scale_offset);
    }
    const ArenaLayout layout = plan_memory(requests, plan.devices[device]->info().alignment);
    for (size_t i = 0; i < offsets.size(); ++i) *offsets[i] = layout.offsets[i];
    plan.arena_bytes[device] = layout.bytes;
  }
}

}  // namespace

Plan compile(const Graph& graph, const PlaceOptions& options, const std::function<void(double done)>& progress) {
  verify(graph);
  const Placed placed = choose_layouts(place(graph, options), options.devices);
  const std::vector<Crossing> crossings = find_crossings(placed);

  Plan plan;
  plan.devices = options.devices;
  plan.refusals = placed.refusals;
  Assembler assembler(placed, plan);
  std::vector<bool> alongside;
  for (const auto& device : options.devices) alongside.push_back(overlaps(*device));
  const std::vector<Work> steps = schedule(placed, crossings, alongside, families(placed, options));
  for (size_t i = 0; i < steps.size(); ++i) {
    if (progress) progress(static_cast<double>(i) / static_cast<double>(steps.size()));
    assembler.add(steps[i], crossings);
  }
  assembler.outputs();
  join_launches(plan);
  lay_out_arenas(plan);
  return plan;
}

}  // namespace v4rt
