#include "graph/passes/place.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "graph/passes/layouts.h"

namespace v4rt {
namespace {

// Nodes that must share a device, in graph order, and the states that bind them.
struct Group {
  std::vector<NodeId> nodes;
  std::vector<std::string_view> states;
};

std::vector<Group> groups_of(const Graph& graph) {
  std::vector<size_t> leader(graph.nodes.size());  // the first node of the group, by following to a fixed point
  std::iota(leader.begin(), leader.end(), size_t{0});
  const auto find = [&](size_t i) {
    while (leader[i] != i) i = leader[i];
    return i;
  };
  std::map<ValueId, size_t> first_user;  // of each state
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const ValueId in : graph.nodes[i].in) {
      const ValueId root = storage_of(graph, in);
      if (graph.value(root).origin != Origin::kState) continue;
      const size_t a = find(first_user.try_emplace(root, i).first->second), b = find(i);
      leader[std::max(a, b)] = std::min(a, b);
    }
  }
  std::map<size_t, Group> by_leader;
  for (size_t i = 0; i < graph.nodes.size(); ++i) by_leader[find(i)].nodes.push_back(static_cast<NodeId>(i));
  for (const auto& [state, user] : first_user) by_leader[find(user)].states.push_back(graph.value(state).name);
  std::vector<Group> groups;
  for (auto& [first, group] : by_leader) groups.push_back(std::move(group));
  return groups;
}

// Devices in the order in which they are asked.
std::vector<int> candidates(const Graph& graph, const Group& group, const CompileOptions& options) {
  for (const auto& [state, device] : options.state_devices) {
    if (std::find(group.states.begin(), group.states.end(), state) != group.states.end()) return {device};
  }
  std::vector<int> order;
  const auto add = [&](int device) {
    if (std::find(order.begin(), order.end(), device) == order.end()) order.push_back(device);
  };
  for (const PlaceRule& rule : options.rules) {
    const bool names_one = std::any_of(group.nodes.begin(), group.nodes.end(),
                                       [&](NodeId id) { return glob_match(rule.pattern, graph.node(id).name); });
    if (names_one) add(rule.device);
  }
  for (size_t i = 0; i < options.devices.size(); ++i) add(static_cast<int>(i));
  return order;
}

class Placer {
 public:
  Placer(const Graph& graph, const CompileOptions& options) : graph_(graph), options_(options) {
    placement_.device.assign(graph.nodes.size(), -1);
  }

  Placement run() {
    for (const Group& group : groups_of(graph_)) place_group(group);
    check(homeless_.empty(), Code::kUnsupported, "no device takes these nodes:{}", homeless_);
    return std::move(placement_);
  }

 private:
  void place_group(const Group& group) {
    std::vector<std::string> refusals;
    for (const int device : candidates(graph_, group, options_)) {
      const size_t before = refusals.size();
      for (const NodeId id : group.nodes) {
        const Support support = ask(*options_.devices[static_cast<size_t>(device)], graph_, graph_.node(id)).support;
        if (!support)
          refusals.push_back(fmt::format("{} refuses {}: {}", name(device), graph_.node(id).name, support.reason));
      }
      if (refusals.size() != before) continue;
      for (const NodeId id : group.nodes) placement_.device[static_cast<size_t>(id)] = device;
      for (const std::string& refusal : refusals) {
        placement_.refusals.push_back(fmt::format("{}; placed on {}", refusal, name(device)));
      }
      return;
    }
    for (const std::string& refusal : refusals) homeless_ += "\n  " + refusal;
  }

  const std::string& name(int device) const { return options_.devices[static_cast<size_t>(device)]->info().name; }

  const Graph& graph_;
  const CompileOptions& options_;
  Placement placement_;
  std::string homeless_;
};

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;  // let the last star take one character more
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Placement place(const Graph& graph, const CompileOptions& options) {
  check(!options.devices.empty(), Code::kInvalidArgument, "a plan needs at least one device");
  const auto in_range = [&](int device) { return device >= 0 && static_cast<size_t>(device) < options.devices.size(); };
  for (const PlaceRule& rule : options.rules) {
    check(in_range(rule.device), Code::kInvalidArgument, "rule {}: there is no device {}", rule.pattern, rule.device);
  }
  for (const auto& [state, device] : options.state_devices) {
    check(in_range(device), Code::kInvalidArgument, "state {}: there is no device {}", state, device);
  }
  return Placer(graph, options).run();
}

}  // namespace v4rt
