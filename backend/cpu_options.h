#pragma once

#include <cstddef>
#include <cstdint>

namespace v4rt {

// Who computes when queues of one cpu device are used from several threads.
enum class ThreadSharing : uint8_t {
  kFirst,  // the device's threads serve one launch; who finds them busy computes on his own thread meanwhile
  kTurns,  // the device's threads serve all, a launch at a time, in the order of asking
  kOwn,    // each queue has threads of its own
};

// Where the cpu device's buffers come from: weights that are copied, state, working memory, inputs and outputs.
struct HostMemory {
  void* (*allocate)(size_t bytes, size_t alignment, void* user) = nullptr;  // nullptr: there is none left
  void (*release)(void* memory, size_t bytes, size_t alignment, void* user) = nullptr;
  void* user = nullptr;
};

struct CpuOptions {
  ThreadSharing sharing = ThreadSharing::kFirst;
  HostMemory memory;  // without functions: the system's
};

}  // namespace v4rt
