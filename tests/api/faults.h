#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <utility>

namespace faults {

enum class Kind { kNone, kAllocation, kFile, kThread, kOpencl };

void arm(Kind kind, int64_t nth);  // the n-th call of this kind from now on fails; 0: none, they are only counted
// Of the OpenCL calls whose name begins with `call` the n-th fails, and all after it: "" is a device that is lost.
void arm_opencl_from(const char* call, int64_t nth);
// arm(kind, 0), and notes where each call is made: the same number for the same functions, one in the other.
void arm_to_note(Kind kind, std::span<uint64_t> places);
int64_t disarm();            // calls of the armed kind since arm()
int64_t live_allocations();  // of operator new in the process, without those made while Spared
// Made and not released: contexts, queues, buffers, programs, kernels, events.
inline std::atomic<int64_t> opencl_objects{0};
bool due(Kind kind);                // counts a call; whether it is the one that fails
bool opencl_due(const char* call);  // the same of an OpenCL call
void show_failed();                 // the functions that the last call that failed was made by, on standard output
void show_callers();                // those that this one is called by

// While one lives, no call of its thread is counted or fails, nor of the threads that it starts: those of the program
// itself, and of drivers, which nobody promised anything about.
inline thread_local bool spared = false;
class Spared {
 public:
  Spared() : before_(std::exchange(spared, true)) {}
  ~Spared() { spared = before_; }
  Spared(const Spared&) = delete;

 private:
  const bool before_;
};

}  // namespace faults
