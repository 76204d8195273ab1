#include "graph/plan/join.h"

#include <algorithm>
#include <iterator>

#include "backend/joining.h"
#include "graph/passes/layouts.h"
#include "graph/passes/offer.h"

namespace v4rt {
namespace {

// Launches that one kernel may do, as the device is asked about them.
class Group {
 public:
  explicit Group(const Plan& plan) : plan_(plan) {}

  size_t size() const { return members_.size(); }
  JoiningDevice* device() const { return device_; }

  // False, and nothing has changed: the device does not take it, or it is another's.
  bool add(const Launch& launch) {
    JoiningDevice* device = joining(*plan_.devices[static_cast<size_t>(launch.device)]);
    if (device == nullptr || (device_ != nullptr && device != device_)) return false;
    members_.push_back(member(launch));
    const std::vector<JoinedCall> all = calls();
    if (device->joins(all)) return device_ = device, true;
    members_.pop_back();
    return false;
  }

  std::vector<JoinedCall> calls() const {
    std::vector<JoinedCall> all;
    for (const Member& m : members_) all.push_back({{*m.launch->op, m.inputs, m.outputs}, m.makers, m.after});
    return all;
  }

 private:
  struct Member {
    const Launch* launch;
    std::vector<TensorType> inputs, outputs;
    std::vector<int> makers, after;
  };

  const Slot& slot(SlotId id) const { return plan_.slots[static_cast<size_t>(id)]; }
  static bool uses(const Launch& launch, SlotId id) { return std::ranges::find(launch.args, id) != launch.args.end(); }
  static bool overwrites(const Launch& launch, SlotId id) {  // an input, in place
    return std::ranges::any_of(launch.op->aliases(),
                               [&](const Alias& alias) { return launch.args[static_cast<size_t>(alias.input)] == id; });
  }

  // One overwrites what the other uses.
  static bool disputed(const Launch& a, const Launch& b) {
    return std::ranges::any_of(b.args,
                               [&](SlotId id) { return uses(a, id) && (overwrites(a, id) || overwrites(b, id)); });
  }

  Member member(const Launch& launch) const {
    Member made{&launch, {}, {}, {}, {}};
    for (size_t i = 0; i < members_.size(); ++i)
      if (disputed(*members_[i].launch, launch)) made.after.push_back(static_cast<int>(i));
    for (const SlotId id : std::span(launch.args).first(static_cast<size_t>(launch.n_inputs))) {
      made.inputs.push_back(slot(id).type);
      made.makers.push_back(maker(id));
    }
    made.outputs = launch.op->infer(made.inputs);
    return made;
  }

  int maker(SlotId id) const {
    for (size_t i = 0; i < members_.size(); ++i) {
      const Member& m = members_[i];
      const auto made = std::span(m.launch->args).subspan(m.inputs.size(), m.outputs.size());
      if (std::ranges::find(made, id) != made.end()) return static_cast<int>(i);
    }
    return -1;
  }

  const Plan& plan_;
  JoiningDevice* device_ = nullptr;
  std::vector<Member> members_;
};

void launched_alone(const Plan& plan, size_t step) {
  const auto* launch = std::get_if<Launch>(&plan.steps[step]);
  if (launch == nullptr) return;
  if (JoiningDevice* device = joining(*plan.devices[static_cast<size_t>(launch->device)]))
    device->launched_alone(*launch->kernel);
}

}  // namespace

const Join* join_of(const Plan& plan, size_t step) {
  const auto after = std::ranges::upper_bound(plan.joins, step, {}, &Join::first);
  if (after == plan.joins.begin()) return nullptr;
  const Join& join = *std::prev(after);
  return step < join.first + join.count ? &join : nullptr;
}

std::string nodes_of(const Plan& plan, const Join& join) {
  std::string nodes;
  for (size_t i = join.first; i < join.first + join.count; ++i)
    nodes += (nodes.empty() ? "" : " + ") + std::get<Launch>(plan.steps[i]).node;
  return nodes;
}

std::vector<int> families(const Placed& placed, const PlaceOptions& options) {
  std::vector<int> families(placed.graph.nodes.size());
  for (size_t i = 0; i < families.size(); ++i) {
    const Node& node = placed.graph.nodes[i];
    const JoiningDevice* device = joining(*options.devices[static_cast<size_t>(placed.device(static_cast<NodeId>(i)))]);
    if (device == nullptr || runs_at_bind(placed.graph, node)) continue;
    const DeviceRequest request = request_of(placed.graph, node);
    families[i] = device->family({*request.op, request.inputs, request.outputs});
  }
  return families;
}

void join_launches(Plan& plan) {
  for (size_t first = 0, next = 0; first < plan.steps.size(); first = std::max(next, first + 1)) {
    Group group(plan);
    for (next = first; next < plan.steps.size(); ++next) {
      const auto* launch = std::get_if<Launch>(&plan.steps[next]);
      if (launch == nullptr || !group.add(*launch)) break;
    }
    if (group.size() < 2) {
      launched_alone(plan, first);
      continue;
    }
    const std::vector<JoinedCall> calls = group.calls();
    plan.joins.push_back({first, group.size(), group.device()->join(calls)});
    std::string& name = plan.joins.back().kernel->name;
    for (size_t i = first; i < next; ++i)
      name += (name.empty() ? "" : " + ") + std::get<Launch>(plan.steps[i]).kernel->name;
  }
}

}  // namespace v4rt
