#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/plan/carrier.h"
#include "graph/plan/expert_prefetch.h"
#include "graph/plan/plan.h"

namespace v4rt {

// The memory and queues that a plan runs with: for each device a queue, and an arena of at least arena_bytes (null if
// that is 0). `tensor` gives the memory of state, weight and io slots.
struct Bindings {
  std::span<const std::unique_ptr<Queue>> queues;
  std::span<const BufferPtr> arenas;
  std::function<Tensor(const Slot&)> tensor;
  std::function<Residence(const Slot&)> residence = {};  // of weights; empty: all are in memory
  ExpertPrefetch::Ask read_ahead = {};                   // empty: the kernel's
};

// A plan bound to memory once, to be run many times. Plan and queues must outlive it.
class Executor {
 public:
  Executor(const Plan& plan, const Bindings& bindings);

  void run(const Step& step);  // allocates nothing; returns when everything is enqueued
  // The same for who may want it to end: waits for each layer, and then asks whether to go on, with the share that is
  // done. False if it did not run to its end.
  bool run(const Step& step, const std::function<bool(double done)>& go_on);
  // The same for profiles: waits for each launch before the next begins. seconds[i] is the time of plan.steps[i] alone;
  // of steps that are joined, the first has the time of all, and the others have none.
  void run(const Step& step, std::span<double> seconds);
  // And for who looks between: the beginning of a run, and one step of the plan by itself, transfers to their end; all
  // of them, in their order.
  void begin(const Step& step);
  void execute(size_t i, const Step& step);
  const Tensor& tensor(SlotId id) const { return tensors_[static_cast<size_t>(id)]; }

 private:
  struct Command {  // one step with everything it needs
    Queue* queue;
    const Kernel* kernel;  // nullptr: a transfer, to the queue `to`
    std::vector<Tensor> args;
    Queue* to = nullptr;
  };

  Command bind(const Launch& launch) const;
  Command bind(const Join& join) const;
  Command bind(const Transfer& transfer) const;
  void start(size_t i, const Step& step);     // without waiting for a transfer
  size_t launch(size_t i, const Step& step);  // the same of all that is joined with it; the step after those

  const Plan& plan_;
  std::vector<Queue*> queues_;     // per device
  std::vector<Queue*> launching_;  // those with a launch in this plan
  std::vector<Tensor> tensors_;    // per slot
  std::vector<Command> commands_;
  std::vector<Command> joined_;  // per join
  std::vector<int> join_at_;     // per step: the join that begins there; -1: none
  std::optional<Carrier> carrier_;
  std::optional<ExpertPrefetch> prefetch_;
};

}  // namespace v4rt
