#pragma once

#include <atomic>
#include <cstdint>

namespace faults {

enum class Kind { kNone, kAllocation, kFile, kThread, kOpencl };

void arm(Kind kind, int64_t nth);  // the n-th call of this kind from now on fails; 0: none, they are only counted
int64_t disarm();                  // calls of the armed kind since arm()
int64_t live_allocations();        // of operator new, in the process
inline std::atomic<int64_t> opencl_objects{0};  // made and not released: contexts, queues, buffers, programs, kernels
bool due(Kind kind);                            // counts a call; whether it is the one that fails

}  // namespace faults
