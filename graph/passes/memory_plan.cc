#include "graph/passes/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "ops/core/error.h"

namespace v4rt {
namespace {

size_t checked_round_up(size_t bytes, size_t alignment) {
  size_t sum = 0;
  check(!__builtin_add_overflow(bytes, alignment - 1, &sum), Code::kOutOfMemory,
        "an arena of {} bytes cannot be addressed", bytes);
  return sum / alignment * alignment;
}

}  // namespace

ArenaLayout plan_memory(std::span<const ArenaRequest> requests, size_t alignment) {
  check(alignment > 0, Code::kInternal, "arena alignment is 0");
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].bytes > requests[b].bytes; });

  ArenaLayout layout;
  layout.offsets.resize(requests.size());
  std::vector<size_t> placed;  // by offset
  for (const size_t r : order) {
    const ArenaRequest& request = requests[r];
    size_t offset = 0;
    for (const size_t other : placed) {
      if (requests[other].first > request.last || requests[other].last < request.first) continue;
      if (layout.offsets[other] >= offset && layout.offsets[other] - offset >= request.bytes) break;  // fits before it
      offset = std::max(offset, checked_round_up(layout.offsets[other] + requests[other].bytes, alignment));
    }
    layout.offsets[r] = offset;
    size_t end = 0;
    check(!__builtin_add_overflow(offset, request.bytes, &end), Code::kOutOfMemory,
          "an arena beyond {} bytes cannot be addressed", offset);
    layout.bytes = std::max(layout.bytes, checked_round_up(end, alignment));
    const auto at = std::upper_bound(placed.begin(), placed.end(), offset,
                                     [&](size_t value, size_t other) { return value < layout.offsets[other]; });
    placed.insert(at, r);
  }
  return layout;
}

}  // namespace v4rt
