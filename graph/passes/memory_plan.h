#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace v4rt {

// Memory that one device needs from its first to its last use, both inclusive, counted in plan steps.
struct ArenaRequest {
  size_t bytes;
  int first, last;
};

struct ArenaLayout {
  std::vector<size_t> offsets;  // one per request
  size_t bytes = 0;             // of the whole arena
};

// Places requests largest first, each at the lowest aligned offset that is free over its live range. Requests that live
// at the same time never overlap. Checked arithmetic.
ArenaLayout plan_memory(std::span<const ArenaRequest> requests, size_t alignment);

}  // namespace v4rt
