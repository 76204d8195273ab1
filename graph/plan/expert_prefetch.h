#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "graph/plan/plan.h"

namespace v4rt {

// Where the pages of a weight are when a step reads it.
enum class Residence : uint8_t {
  kMemory,     // in memory
  kFile,       // mapped from a file; everything mapped fits in memory, so pages stay once they are read
  kLargeFile,  // mapped from a file; more is mapped than fits, so pages may be dropped again
};

// Asks the kernel to read the pages of the chosen experts from disk as soon as the choice is known: all at once,
// instead of one page fault after the other. Experts chosen by token id are known before the step.
//
// Each request costs a system call, and some 50 ns for every page that is already there. So weights in memory are never
// requested, those of kFile once per expert, and those of kLargeFile in every step, because a page that is missing
// costs a thousand times as much.
class ExpertPrefetch {
 public:
  using Ask = std::function<void(std::span<const std::byte> bytes)>;

  // `tensors`: per slot. `ask`: how to request pages; empty: madvise.
  ExpertPrefetch(const Plan& plan, std::span<const Tensor> tensors, std::span<const std::unique_ptr<Queue>> queues,
                 const std::function<Residence(const Slot&)>& residence, Ask ask);

  void before(const Step& step);                    // call it when the plan's inputs are written
  void after(size_t plan_step, const Step& step) {  // call it when that step is enqueued
    if (layer_after_[plan_step] < 0) return;
    ask_chosen(layers_[static_cast<size_t>(layer_after_[plan_step])], step);
  }

 private:
  struct Plane {
    const std::byte* data;
    size_t expert_bytes;
    size_t begin, end;  // of the experts in it
  };
  struct Layer {
    SlotId ids_slot;
    Queue* queue;                     // of the device that has the ids
    const int32_t* ids;               // [T, k]; of layers by token id, the table [V, k]
    const int32_t* tokens = nullptr;  // of layers by token id: [T]
    int64_t k;
    bool once;
    std::vector<Plane> planes;
    std::vector<uint8_t> wanted, asked;  // per expert
  };

  void add(const Plan& plan, size_t user, std::span<const Tensor> tensors,
           std::span<const std::unique_ptr<Queue>> queues, const std::function<Residence(const Slot&)>& residence);
  Layer* layer(const Plan& plan, size_t user, SlotId ids, std::span<const Tensor> tensors,
               std::span<const std::unique_ptr<Queue>> queues);
  void ask_chosen(Layer& layer, const Step& step);

  Ask ask_;
  std::vector<Layer> layers_;
  std::vector<int32_t> layer_after_;  // per step of the plan; -1: none
};

}  // namespace v4rt
