#pragma once

#include <cstdint>

#include "backend/device.h"

namespace v4rt {

// How a device holds what grows with a sequence: the compressed entries.
enum class StateMemory : uint8_t {
  kWhole,    // for the whole context from the start
  kPages,    // the same, of host memory that kernels work on in place and the system gives as it is used: SharedPages
  kGrowing,  // in buffers that are replaced by larger ones, between steps
};

// For devices that hold it in another way than kWhole. Their kernels take the rows of a slot from the tensor that is
// bound, which may have more or fewer than the one that they were made for.
class StateHolder {
 public:
  virtual StateMemory state_memory() const = 0;

 protected:
  ~StateHolder() = default;
};

inline StateMemory state_memory(const Device& device) {
  const auto* holder = dynamic_cast<const StateHolder*>(&device);
  return holder != nullptr ? holder->state_memory() : StateMemory::kWhole;
}

}  // namespace v4rt
