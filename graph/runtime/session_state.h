#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "graph/runtime/snapshot.h"
#include "graph/runtime/state_tensors.h"
#include "ops/core/bytes.h"

namespace v4rt {

// The state tensors of one session: for every state of the model, the rows of each sequence one after the other. Rows
// that no position has written hold anything; no kernel lets them matter.
class SessionState {
 public:
  // Queues: one per device, and must outlive this.
  SessionState(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues);

  const Tensor& tensor(std::string_view name) const;
  // As StateTensors::make_room().
  void make_room(int slot, int64_t begin, int64_t end) { tensors_.make_room(slot, begin, end); }

  Snapshot save(int slot, int64_t position) const;
  // Throws Error unless the snapshot is of these weights and numbers and of states like these.
  void check_fits(const SnapshotReader& snapshot) const;
  // There must be room, as for load_rows().
  void load(int slot, const SnapshotReader& snapshot);

  // Some rows of every state that a snapshot holds, in the same order.
  using RowsFn = std::function<RowSpan(const StateInfo& state)>;
  Bytes save_rows(int slot, const RowsFn& rows) const;
  void load_rows(int slot, const RowsFn& rows, std::span<const std::byte> bytes);
  size_t bytes_of(const RowsFn& rows) const;

  void clear_what_stays(int slot);  // to zero: what no snapshot holds

  // Sequence `to` becomes what `from` is at `position`; of rings it gets what positions from `back` on read, which have
  // been written up to `written`.
  void copy(int from, int to, int64_t position, int64_t back, int64_t written);

  const Hash& mark() const { return mark_; }  // of weights and numbers: others refuse these sequences

  // Whether rings still hold what positions from `position` on read: they began with those of a sequence at `start`,
  // and positions up to `written` were written since.
  bool reaches(int64_t position, int64_t start, int64_t written) const;

 private:
  Queue& queue(const StateInfo& state) const { return *queues_[static_cast<size_t>(state.device)]; }
  void download(size_t state, int slot, RowSpan rows, std::span<std::byte> to) const;
  void upload(size_t state, int slot, RowSpan rows, std::span<const std::byte> from);

  const Hash mark_;
  std::span<const StateInfo> states_;
  std::vector<size_t> order_;  // of snapshots: by name
  std::span<const std::unique_ptr<Queue>> queues_;
  StateTensors tensors_;
};

// What positions from `position` on read of rings. Compressed entries never change: these are all it takes to go back.
SessionState::RowsFn rings_at(int64_t position);
// The entries that positions [begin, end) complete.
SessionState::RowsFn entries_of(int64_t begin, int64_t end);
SessionState::RowsFn tail_of(int64_t begin, int64_t position);  // the entries from `begin` on, and the rings

}  // namespace v4rt
