#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "graph/runtime/model_impl.h"
#include "ops/core/hash.h"

namespace v4rt {

// The state tensors of one session: for every state of the model, the rows of each sequence one after the other.
class SessionState {
 public:
  // Allocates and clears. Queues: one per device, and must outlive this.
  SessionState(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues);

  const Tensor& tensor(std::string_view name) const;
  void clear(int slot);  // to zero bytes: an empty sequence
  // A sequence of `position` positions as bytes: the mark, then its live rows of every state.
  size_t saved_bytes(int64_t position) const;
  void save(int slot, int64_t position, std::vector<std::byte>& bytes) const;
  // Throws Error(kInvalidArgument) unless load() can take them.
  void check_fits(int64_t position, std::span<const std::byte> bytes) const;
  void load(int slot, int64_t position, std::span<const std::byte> bytes);

 private:
  Queue& queue(const StateInfo& state) const { return *queues_[static_cast<size_t>(state.device)]; }

  const Hash mark_;  // of this model: others refuse its sequences
  std::span<const StateInfo> states_;
  std::span<const std::unique_ptr<Queue>> queues_;
  std::vector<Tensor> tensors_;
  std::vector<std::byte> zeros_;
};

}  // namespace v4rt
