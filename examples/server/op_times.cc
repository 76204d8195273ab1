#include "examples/server/op_times.h"

#include <fmt/format.h>

#include <variant>

namespace v4rt::server {
namespace {

// Whose time a step is, and what it does: what is sent takes the time of the device that gets it.
std::pair<std::string_view, std::string_view> key(const Plan& plan, const PlanStep& step) {
  const auto* launch = std::get_if<Launch>(&step);
  const int device =
      launch != nullptr ? launch->device : plan.slots[static_cast<size_t>(std::get<Transfer>(step).to)].device;
  return {plan.devices[static_cast<size_t>(device)]->info().name,
          launch != nullptr ? name(launch->op->kind()) : "transfer"};
}

}  // namespace

void OpTimes::add(const Plan& plan, std::span<const double> seconds) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < seconds.size(); ++i) {
    if (const Join* join = join_of(plan, i); join != nullptr && join->first != i) continue;  // the first has their time
    Time& time = ops_[key(plan, plan.steps[i])];
    ++time.launches;
    time.seconds += seconds[i];
  }
}

std::string OpTimes::text() const {
  std::string seconds =
      "# HELP v4rt_op_seconds_total Time of an op on a device\n# TYPE v4rt_op_seconds_total counter\n";
  std::string launches = "# HELP v4rt_op_launches_total Its launches\n# TYPE v4rt_op_launches_total counter\n";
  const std::lock_guard lock(mutex_);
  for (const auto& [key, time] : ops_) {
    const std::string labels = fmt::format("{{device=\"{}\",op=\"{}\"}}", key.first, key.second);
    seconds += fmt::format("v4rt_op_seconds_total{} {}\n", labels, time.seconds);
    launches += fmt::format("v4rt_op_launches_total{} {}\n", labels, time.launches);
  }
  return seconds + launches;
}

}  // namespace v4rt::server
