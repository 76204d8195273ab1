#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/shared_pages.h"
#include "backend/state_memory.h"
#include "graph/runtime/model_impl.h"

namespace v4rt {

// The memory of a session's states: [slots, rows, ..] for every state of the model. Compressed entries take memory as
// they are written, and forks share them, where the device can (backend/state_memory.h).
class StateTensors {
 public:
  // Queues: one per device, and must outlive this.
  StateTensors(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues);

  const Tensor& operator[](size_t state) const { return tensors_[state]; }
  size_t offset(size_t state, int slot, int64_t row) const;  // of a row, in bytes

  // Sequence `slot` is about to get positions [begin, end). Throws Error(kOutOfMemory), having lost nothing.
  void make_room(int slot, int64_t begin, int64_t end);

  // The entries of sequence `to` become those of `from` that positions before `position` have completed.
  void copy_entries(int from, int to, int64_t position);

 private:
  void place_in_pages();
  void place(size_t state, int64_t reserve);
  Device& device(size_t state) const { return *devices_[static_cast<size_t>(states_[state].device)]; }
  Queue& queue(size_t state) const { return *queues_[static_cast<size_t>(states_[state].device)]; }

  std::span<const StateInfo> states_;
  std::span<const std::shared_ptr<Device>> devices_;
  std::span<const std::unique_ptr<Queue>> queues_;
  const int64_t slots_;
  std::vector<Tensor> tensors_;
  std::vector<size_t> apart_;  // of entries, those that nobody shares
  struct Shared {
    size_t state = 0;
    SharedState* memory = nullptr;
    size_t begin = 0;  // where its tensor lies in it
  };
  std::vector<Shared> shared_;
  std::shared_ptr<SharedPages> pages_;
};

}  // namespace v4rt
