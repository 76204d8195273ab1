#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/shared_pages.h"
#include "backend/state_memory.h"
#include "graph/runtime/model_impl.h"

namespace v4rt {

// The memory of a session's states: [slots, rows, ..] for every state of the model. Compressed entries grow with the
// longest sequence, and forks share them, where the device can (backend/state_memory.h).
class StateTensors {
 public:
  // Queues: one per device, and must outlive this.
  StateTensors(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues);

  const Tensor& operator[](size_t state) const { return tensors_[state]; }
  size_t offset(size_t state, int slot, int64_t row) const;  // of a row, in bytes

  // Whether positions before `end` fit into the tensors that there are; otherwise make_room() replaces some.
  bool has_room(int64_t end) const { return growing_.empty() || end <= positions_; }
  // Sequence `slot` is about to get positions [begin, end). Throws Error(kOutOfMemory), having lost nothing.
  void make_room(int slot, int64_t begin, int64_t end);

  // The entries of sequence `to` become those of `from` that positions before `position` have completed.
  void copy_entries(int from, int to, int64_t position);

 private:
  StateMemory memory_of(const StateInfo& state) const;
  void place_in_pages();
  void grow(int64_t positions);
  Queue& queue(size_t state) const { return *queues_[static_cast<size_t>(states_[state].device)]; }

  std::span<const StateInfo> states_;
  std::span<const std::shared_ptr<Device>> devices_;
  std::span<const std::unique_ptr<Queue>> queues_;
  const int64_t slots_, context_;
  int64_t positions_;  // that growing states have room for
  std::vector<Tensor> tensors_;
  std::vector<size_t> apart_;    // of entries, those in buffers of their own
  std::vector<size_t> growing_;  // of them, the largest first
  struct Paged {
    size_t state = 0, begin = 0;  // where it lies in the pages
  };
  std::vector<Paged> paged_;
  std::shared_ptr<SharedPages> pages_;
};

// The memory of a growing state for `wanted` positions: the context, or the smallest of its halves that has room.
int64_t room_for(int64_t wanted, int64_t context);

}  // namespace v4rt
