#include "graph/passes/schedule.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <tuple>

namespace v4rt {
namespace {

// Work items are numbered: nodes by their id, then crossings.
class Scheduler {
 public:
  Scheduler(const Placed& placed, std::span<const Crossing> crossings, const std::vector<bool>& alongside,
            const std::vector<int>& families)
      : graph_(placed.graph),
        placed_(placed),
        crossings_(crossings),
        alongside_(alongside),
        families_(families),
        n_nodes_(placed.graph.nodes.size()) {
    const size_t n = n_nodes_ + crossings.size();
    next_.resize(n);
    waits_.assign(n, 0);
    priority_.assign(n, std::numeric_limits<size_t>::max());
  }

  std::vector<Work> run() {
    makers_and_readers();
    for (size_t i = 0; i < n_nodes_; ++i) edges(i);
    return order();
  }

 private:
  struct Copy {  // a value as one device holds it
    std::vector<size_t> readers;
    ptrdiff_t maker = -1;  // -1: there from the start
  };

  Copy& copy(ValueId value, int device) { return copies_[{value, device}]; }

  void makers_and_readers() {
    for (size_t i = 0; i < n_nodes_; ++i) {
      priority_[i] = 2 * i + 1;
      for (const ValueId out : graph_.nodes[i].out)
        copy(out, placed_.device(static_cast<NodeId>(i))).maker = static_cast<ptrdiff_t>(i);
      for (const ValueId in : graph_.nodes[i].in) copy(in, placed_.device(static_cast<NodeId>(i))).readers.push_back(i);
    }
    for (size_t c = 0; c < crossings_.size(); ++c) {
      const auto& [value, from, to] = crossings_[c];
      copy(value, from).readers.push_back(n_nodes_ + c);
      copy(value, to).maker = static_cast<ptrdiff_t>(n_nodes_ + c);
      for (const size_t reader : copy(value, to).readers)
        priority_[n_nodes_ + c] = std::min(priority_[n_nodes_ + c], 2 * reader);
    }
    for (const auto& [key, c] : copies_) {
      for (const size_t reader : c.readers) {
        if (c.maker >= 0) edge(static_cast<size_t>(c.maker), reader);
      }
    }
  }

  // Readers of the content that node `i` overwrites come before it.
  void edges(size_t i) {
    const Node& node = graph_.nodes[i];
    for (const Alias& alias : node.op->aliases()) {
      const ValueId old = node.in[static_cast<size_t>(alias.input)];
      for (const size_t reader : copy(old, placed_.device(static_cast<NodeId>(i))).readers) {
        if (reader != i) edge(reader, i);
      }
    }
  }

  void edge(size_t before, size_t after) {
    next_[before].push_back(after);
    ++waits_[after];
  }

  bool goes_alongside(size_t item) const {
    const auto does = [&](int device) {
      return static_cast<size_t>(device) < alongside_.size() && alongside_[static_cast<size_t>(device)];
    };
    if (item < n_nodes_) return does(placed_.device(static_cast<NodeId>(item)));
    const Crossing& c = crossings_[item - n_nodes_];
    return does(c.from) || does(c.to);
  }

  std::vector<Work> order() {
    using Entry = std::tuple<bool, size_t, size_t>;  // holds the host up, priority, item
    std::map<int, std::priority_queue<Entry, std::vector<Entry>, std::greater<>>> ready;  // by family
    const auto push = [&](size_t i) {
      ready[i < families_.size() ? families_[i] : 0].push({!goes_alongside(i), priority_[i], i});
    };
    for (size_t i = 0; i < waits_.size(); ++i) {
      if (waits_[i] == 0) push(i);
    }
    // Those of a family follow each other. Otherwise the lowest comes first, but for what holds the host up less.
    const auto next_family = [&](int family) {
      if (family != 0 && ready.contains(family)) return family;
      const auto rank = [](const auto& one) {
        const auto& [holds_up, priority, item] = one.second.top();
        return std::tuple(holds_up, one.first, priority);
      };
      return std::ranges::min_element(ready, {}, rank)->first;
    };
    std::vector<Work> work;
    for (int family = 0; !ready.empty();) {
      family = next_family(family);
      const auto from = ready.find(family);
      const size_t item = std::get<2>(from->second.top());
      from->second.pop();
      if (from->second.empty()) ready.erase(from);
      work.push_back(item < n_nodes_ ? Work{.node = static_cast<NodeId>(item)}
                                     : Work{.crossing = static_cast<int>(item - n_nodes_)});
      for (const size_t after : next_[item]) {
        if (--waits_[after] == 0) push(after);
      }
    }
    check(work.size() == waits_.size(), Code::kInternal,
          "the graph has a cycle: {} of {} nodes and transfers can be ordered", work.size(), waits_.size());
    return work;
  }

  const Graph& graph_;
  const Placed& placed_;
  std::span<const Crossing> crossings_;
  const std::vector<bool>& alongside_;
  const std::vector<int>& families_;
  size_t n_nodes_;
  std::map<std::pair<ValueId, int>, Copy> copies_;
  std::vector<std::vector<size_t>> next_;
  std::vector<size_t> waits_, priority_;
};

}  // namespace

std::vector<Work> schedule(const Placed& placed, std::span<const Crossing> crossings,
                           const std::vector<bool>& alongside, const std::vector<int>& families) {
  return Scheduler(placed, crossings, alongside, families).run();
}

}  // namespace v4rt
