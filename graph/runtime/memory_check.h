#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/device.h"

namespace v4rt {

// Bytes that a model with one session takes of a device.
struct MemoryNeed {
  size_t weights = 0;  // copied ones; those used in a mapped file take none
  size_t states = 0;
  size_t largest_state = 0;  // one buffer
  size_t growth = 0;         // at most, while a state is copied to a larger buffer
  size_t arena = 0;          // one buffer
  size_t io = 0;
  size_t largest = 0;  // one buffer of any of these
  size_t staging = 0;  // at most, while weights are loaded, before there is a session
  size_t pinned = 0;   // of the host's memory: what copies between both go through

  size_t total() const;  // on the device at once; saturates: a sum that overflows does not fit either
};

struct DeviceNeed {
  std::string device;
  MemoryNeed need;
};

// Empty when it fits, otherwise why not, with figures. A device that does not know its memory takes everything.
std::string exceeds(const DeviceInfo& device, const MemoryNeed& need);

// What a model with one session takes of the host's memory, on all devices that use it. Pages of files are not counted:
// the system can take them back.
struct HostNeed {
  size_t weights = 0;  // copied
  size_t rest = 0;     // state and working memory
};

// Empty when it fits in `available` bytes, otherwise why not, with figures.
std::string exceeds_host(const HostNeed& need, size_t available);

// The largest context in [0, limit) that `fits`, a monotone predicate; 0 when none does.
int64_t largest_context(int64_t limit, const std::function<bool(int64_t)>& fits);

}  // namespace v4rt
