#include <algorithm>

#include "graph/plan/plan.h"

namespace v4rt {

std::vector<Live> live_ranges(const Plan& plan) {
  std::vector<Live> live(plan.slots.size(), {static_cast<int>(plan.steps.size()), -1});
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Join* join = join_of(plan, i);
    const Live step = join != nullptr
                          ? Live{static_cast<int>(join->first), static_cast<int>(join->first + join->count) - 1}
                          : Live{static_cast<int>(i), static_cast<int>(i)};
    const auto touch = [&](SlotId id) {
      Live& l = live[static_cast<size_t>(id)];
      l = {std::min(l.first, step.first), std::max(l.last, step.last)};
    };
    if (const auto* launch = std::get_if<Launch>(&plan.steps[i])) {
      for (const SlotId id : launch->args) touch(id);
    } else {
      const auto& transfer = std::get<Transfer>(plan.steps[i]);
      touch(transfer.from);
      touch(transfer.to);
    }
  }
  return live;
}

}  // namespace v4rt
