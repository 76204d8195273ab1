#include "graph/passes/place.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>

#include "graph/passes/expand.h"
#include "ops/core/glob.h"

namespace v4rt {
namespace {

// Nodes that must be on one device, in graph order, and the states they share.
struct Group {
  std::vector<NodeId> nodes;
  std::vector<std::string_view> states;
};

std::vector<Group> groups_of(const Graph& graph) {
  std::vector<size_t> leader(graph.nodes.size());  // follow it to a fixed point: the first node of the group
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
  groups.reserve(by_leader.size());
  for (auto& [first, group] : by_leader) groups.push_back(std::move(group));
  return groups;
}

// Devices in the order in which we ask them.
std::vector<int> candidates(const Graph& graph, const Group& group, const PlaceOptions& options) {
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

// One node as it will run: itself, or the parts of its expansion.
struct Decision {
  Choice choice;
  std::optional<Expansion> expansion;
};

class Placer {
 public:
  Placer(const Graph& graph, const PlaceOptions& options)
      : graph_(graph), options_(options), decisions_(graph.nodes.size()) {}

  Placed run() {
    for (const Group& group : groups_of(graph_)) place_group(group);
    constexpr size_t kMost = 10;  // that an error names
    const auto named = std::span(homeless_).first(std::min(kMost, homeless_.size()));
    check(homeless_.empty(), Code::kUnsupported, "no device takes these nodes; one more, such as cpu, may:\n  {}{}",
          fmt::join(named, "\n  "),
          named.size() < homeless_.size() ? fmt::format("\n  and {} more", homeless_.size() - named.size()) : "");
    return lower();
  }

 private:
  void place_group(const Group& group) {
    std::vector<std::string> refusals;
    for (const int device : candidates(graph_, group, options_)) {
      if (const Move* move = move_of(group, device)) {
        refusals.push_back(fmt::format("{} has no room for {}: {}", name(device), move->pattern, move->why));
        continue;
      }
      const size_t before = refusals.size();
      for (const NodeId id : group.nodes) {
        const std::string refusal = decide(id, device);
        if (!refusal.empty())
          refusals.push_back(fmt::format("{} refuses {}: {}", name(device), graph_.node(id).name, refusal));
      }
      if (refusals.size() != before) continue;
      for (const std::string& refusal : refusals) add(fmt::format("{}; placed on {}", refusal, name(device)));
      return;
    }
    std::ranges::move(refusals, std::back_inserter(homeless_));
  }

  const Move* move_of(const Group& group, int device) const {
    const auto found = std::ranges::find_if(options_.moves, [&](const Move& move) {
      return move.device == device && std::ranges::any_of(group.nodes, [&](NodeId id) {
               return glob_match(move.pattern, graph_.node(id).name);
             });
    });
    return found == options_.moves.end() ? nullptr : &*found;
  }

  void add(std::string refusal) {  // those of moves are the same for many nodes
    if (std::ranges::find(refusals_, refusal) == refusals_.end()) refusals_.push_back(std::move(refusal));
  }

  // Empty when the device takes the node, otherwise why not.
  std::string decide(NodeId id, int index) {
    const Device& device = *options_.devices[static_cast<size_t>(index)];
    const DeviceRequest request = request_of(graph_, graph_.node(id));
    Decision& decision = decisions_[static_cast<size_t>(id)];
    Offer offer = ask(device, request);
    decision = {{index, offer.support.kernel, std::move(offer.inputs), {}}, std::nullopt};
    if (offer.support) return decision.choice.why = std::move(offer.support.reason), std::string();
    decision.expansion = expand(device, index, request);
    return decision.expansion ? std::string() : offer.support.reason;
  }

  Placed lower() {
    Placed placed{.graph = graph_, .choices = {}, .refusals = std::move(refusals_)};
    placed.graph.nodes.clear();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      Decision& decision = decisions_[i];
      if (decision.expansion) {
        append_parts(placed.graph, node, *decision.expansion);
        std::ranges::move(decision.expansion->choices, std::back_inserter(placed.choices));
        continue;
      }
      for (const ValueId out : node.out)
        placed.graph.values[static_cast<size_t>(out)].node = static_cast<NodeId>(placed.graph.nodes.size());
      placed.graph.nodes.push_back(node);
      placed.choices.push_back(std::move(decision.choice));
    }
    return placed;
  }

  const std::string& name(int device) const { return options_.devices[static_cast<size_t>(device)]->info().name; }

  const Graph& graph_;
  const PlaceOptions& options_;
  std::vector<Decision> decisions_;
  std::vector<std::string> refusals_;
  std::vector<std::string> homeless_;
};

}  // namespace

Placed place(const Graph& graph, const PlaceOptions& options) {
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
