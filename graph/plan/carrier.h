#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "backend/overlap.h"
#include "graph/plan/plan.h"

namespace v4rt {

// The transfers of a plan, through the host's memory. A copy from a device that works by itself is begun where the plan
// has it, and waited for before its first reader: until then the host and both devices go on.
class Carrier {
 public:
  Carrier(const Plan& plan, std::span<const Tensor> tensors, std::span<Queue* const> queues);

  void reset();              // what a run that did not end has left
  void begin(size_t step);   // the transfer that is plan.steps[step]
  void arrive(size_t step);  // its value is on its way into the tensor of the other device
  void before(size_t step);  // all that plan.steps[step] reads arrives; of the number of steps: all that is left

 private:
  struct Plane {
    BufferPtr from, to;
    size_t at, bytes;  // in the staging
    std::unique_ptr<LaterCopy> down, up;
  };
  struct Crossing {
    Queue *from, *to;
    size_t staging;
    std::vector<Plane> planes;
  };
  struct Staging {
    std::vector<std::byte> bytes;
    Crossing* arriving = nullptr;   // its planes are on their way here
    Crossing* departing = nullptr;  // or from here
  };
  void arrive(Crossing& crossing);
  void leave(Staging& staging);

  static constexpr size_t kStagings = 4;               // as many are on their way at once
  std::array<Staging, kStagings> stagings_;            // before those who use them
  std::vector<std::unique_ptr<Crossing>> crossings_;   // by step; null where it is a launch
  std::vector<std::vector<Crossing*>> first_readers_;  // by step, and one more: what it is the first to read
};

}  // namespace v4rt
