#include <algorithm>

#include "graph/plan/plan.h"

namespace v4rt {

std::vector<Live> live_ranges(const Plan& plan) {
  std::vector<Live> live(plan.slots.size(), {static_cast<int>(plan.steps.size()), -1});
  const auto touch = [&](SlotId id, int step) {
    Live& l = live[static_cast<size_t>(id)];
    l = {std::min(l.first, step), std::max(l.last, step)};
  };
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const int step = static_cast<int>(i);
    if (const auto* launch = std::get_if<Launch>(&plan.steps[i])) {
      for (const SlotId id : launch->args) touch(id, step);
    } else {
      const auto& transfer = std::get<Transfer>(plan.steps[i]);
      touch(transfer.from, step);
      touch(transfer.to, step);
    }
  }
  return live;
}

}  // namespace v4rt
