#include "graph/runtime/session_state.h"

#include <cstring>

namespace v4rt {
namespace {

constexpr size_t kZeroBlock = size_t{64} << 10;

// A mark of the weights, the rounding, and the names and types of the states, whatever the number of sequences.
Hash mark_of(const Model::Impl& model) {
  Hasher hasher;
  if (model.identity) hasher.add(model.identity->content);
  hasher.add(static_cast<uint64_t>(model.options.numbers));
  for (const StateInfo& state : model.states) {
    hasher.add(state.name);
    hasher.add(fmt::format("{} {}", info(state.type.dtype).name, fmt::join(state.type.shape.dims().subspan(1), "x")));
  }
  return hasher.value();
}

}  // namespace

SessionState::SessionState(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues)
    : mark_(mark_of(model)), states_(model.states), queues_(queues), zeros_(kZeroBlock) {
  for (const StateInfo& state : states_) {
    const auto device = static_cast<size_t>(state.device);
    tensors_.push_back(
        {.type = state.type, .values = model.devices[device]->allocate(state.type.bytes()), .scales = nullptr});
    queues_[device]->fill(*tensors_.back().values, std::byte{0});
  }
}

const Tensor& SessionState::tensor(std::string_view name) const {
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].name == name) return tensors_[i];
  }
  fail(Code::kInternal, "there is no state {}", name);
}

void SessionState::clear(int slot) {
  for (size_t i = 0; i < states_.size(); ++i) {
    const size_t bytes = states_[i].slot_bytes();
    if (bytes == tensors_[i].values->bytes()) {
      queue(states_[i]).fill(*tensors_[i].values, std::byte{0});
      continue;
    }
    const size_t first = static_cast<size_t>(slot) * bytes;
    for (size_t done = 0; done < bytes; done += zeros_.size()) {
      queue(states_[i])
          .upload(*tensors_[i].values, first + done, std::span(zeros_).first(std::min(zeros_.size(), bytes - done)));
    }
  }
}

size_t SessionState::saved_bytes(int64_t position) const {
  size_t bytes = sizeof mark_;
  for (const StateInfo& state : states_) bytes += state.live_bytes(position);
  return bytes;
}

void SessionState::save(int slot, int64_t position, std::vector<std::byte>& bytes) const {
  bytes.resize(saved_bytes(position));
  std::memcpy(bytes.data(), &mark_, sizeof mark_);
  size_t at = sizeof mark_;
  for (size_t i = 0; i < states_.size(); ++i) {
    const size_t n = states_[i].live_bytes(position), first = static_cast<size_t>(slot) * states_[i].slot_bytes();
    queue(states_[i]).download(std::span(bytes).subspan(at, n), *tensors_[i].values, first);
    at += n;
  }
}

void SessionState::check_fits(int64_t position, std::span<const std::byte> bytes) const {
  Hash head{};
  if (bytes.size() >= sizeof head) std::memcpy(&head, bytes.data(), sizeof head);
  check(bytes.size() == saved_bytes(position) && head == mark_, Code::kInvalidArgument,
        "this snapshot ({} bytes at position {}) is of other weights, another context, chunk or number mode; here one "
        "has "
        "{} bytes",
        bytes.size(), position, saved_bytes(position));
}

// Rows that are not live become zero, as they were when the snapshot was taken.
void SessionState::load(int slot, int64_t position, std::span<const std::byte> bytes) {
  clear(slot);
  size_t at = sizeof mark_;
  for (size_t i = 0; i < states_.size(); ++i) {
    const size_t n = states_[i].live_bytes(position), first = static_cast<size_t>(slot) * states_[i].slot_bytes();
    queue(states_[i]).upload(*tensors_[i].values, first, bytes.subspan(at, n));
    at += n;
  }
}

}  // namespace v4rt
