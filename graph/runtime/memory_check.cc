#include "graph/runtime/memory_check.h"

#include <algorithm>
#include <limits>

#include "ops/core/error.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

size_t sum(std::initializer_list<size_t> terms) {
  size_t total = 0;
  for (const size_t term : terms) {
    if (__builtin_add_overflow(total, term, &total)) return std::numeric_limits<size_t>::max();
  }
  return total;
}

std::string one_allocation(const DeviceInfo& device, std::string_view what, size_t bytes) {
  if (device.max_allocation == 0 || bytes <= device.max_allocation) return {};
  return fmt::format("{} takes {}, and one allocation of {} may be {}", what, human_bytes(bytes), device.name,
                     human_bytes(device.max_allocation));
}

}  // namespace

size_t MemoryNeed::total() const { return sum({weights, std::max(staging, sum({states, growth, arena, io}))}); }

std::string exceeds(const DeviceInfo& device, const MemoryNeed& need) {
  if (device.memory > 0 && need.total() > device.memory) {
    return fmt::format("{} of weights, {} of state and {} of working memory are more than the {} of {}",
                       human_bytes(need.weights), human_bytes(sum({need.states, need.growth})),
                       human_bytes(sum({need.arena, need.io})), human_bytes(device.memory), device.name);
  }
  const std::string state = one_allocation(device, "the largest state", need.largest_state);
  return state.empty() ? one_allocation(device, "working memory", need.arena) : state;
}

std::string exceeds_host(const HostNeed& need, size_t available) {
  const size_t total = sum({need.weights, need.rest});
  if (total <= available) return {};
  return fmt::format(
      "opening takes {} of memory ({} of weights in the device's own layout, {} of state and working "
      "memory), and {} is available",
      human_bytes(static_cast<double>(total)), human_bytes(static_cast<double>(need.weights)),
      human_bytes(static_cast<double>(need.rest)), human_bytes(static_cast<double>(available)));
}

int64_t largest_context(int64_t limit, const std::function<bool(int64_t)>& fits) {
  int64_t good = 0, bad = limit;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

}  // namespace v4rt
