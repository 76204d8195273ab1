#pragma once

// For devices on which a launch costs more than a small op.

#include <memory>
#include <span>
#include <vector>

#include "backend/stand_in.h"

namespace v4rt {

// An op that is to be launched with others: for each of its inputs which of those before it makes it, -1: none of them;
// and those before it that must be done first because it overwrites what they use, or they what it uses.
struct JoinedCall {
  OpCall call;
  std::vector<int> makers;
  std::vector<int> after = {};
};

// A device that can do several ops in one launch, with the bits of their own kernels.
class JoiningDevice {
 public:
  // Ops that may go together have one number; 0: it goes with none.
  virtual int family(const OpCall& call) const = 0;
  // Whether it can do them, in this order.
  virtual bool joins(std::span<const JoinedCall> calls) const = 0;
  // Its tensors are those of each op's own kernel, one op after the other.
  virtual std::unique_ptr<Kernel> join(std::span<const JoinedCall> calls) = 0;
  // That op's own kernel is the one that is launched: what takes time to make, it may have left for this.
  virtual void launched_alone(const Kernel& kernel) const { (void)kernel; }

 protected:
  ~JoiningDevice() = default;
};

inline JoiningDevice* joining(Device& device) { return offered<JoiningDevice>(device); }

}  // namespace v4rt
