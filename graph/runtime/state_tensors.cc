#include "graph/runtime/state_tensors.h"

#include <algorithm>
#include <numeric>

#include "backend/host_buffer.h"
#include "ops/core/arith.h"

namespace v4rt {

StateTensors::StateTensors(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues)
    : states_(model.states),
      devices_(model.devices),
      queues_(queues),
      slots_(model.options.slots),
      tensors_(states_.size()) {
  place_in_pages();
  for (size_t i = 0; i < states_.size(); ++i)
    if (tensors_[i].values == nullptr) place(i, model.options.reserve);
}

void StateTensors::place(size_t i, int64_t reserve) {
  const StateInfo& state = states_[i];
  Tensor& tensor = tensors_[i];
  const StateMemory memory = state.memory(devices_);
  tensor = {.type = state.held_in(memory), .values = nullptr, .scales = nullptr};
  const auto allocate = [&device = device(i)](size_t bytes) { return device.allocate(bytes); };
  if (memory == StateMemory::kExtents) {
    const StateHolder::Extents extents = dynamic_cast<StateHolder&>(device(i)).make_extents(
        {.type = tensor.type, .first = reserve / state.rows.positions, .allocate = allocate, .queue = &queue(i)});
    tensor.values = extents.values;
    return shared_.push_back({i, extents.state, 0});
  }
  if (!state.rows.ring()) apart_.push_back(i);
  tensor.values = allocate(tensor.type.bytes());
}

// Slots begin at extents, so they have some rows more than the plan's, which nobody touches. A lone sequence has nobody
// to share with.
void StateTensors::place_in_pages() {
  size_t largest = 0, bytes = 0;
  for (const StateInfo& state : states_) {
    if (slots_ > 1 && state.memory(devices_) == StateMemory::kPages)
      largest = std::max(largest, state.type.bytes() / static_cast<size_t>(slots_));
  }
  if (largest == 0) return;
  const size_t extent = SharedPages::extent_bytes(largest);
  std::vector<Shared> paged;
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].memory(devices_) != StateMemory::kPages) continue;
    const auto rows = static_cast<int64_t>(extent / std::gcd(extent, static_cast<size_t>(states_[i].row_bytes())));
    const TensorType& type = tensors_[i].type = states_[i].with_rows(round_up(states_[i].type.shape[1], rows));
    paged.push_back({i, nullptr, bytes});
    bytes += type.bytes();
  }
  pages_ = SharedPages::create(bytes, largest);
  if (pages_ == nullptr) return;
  for (Shared& p : paged) {
    Tensor& tensor = tensors_[p.state];
    tensor.values = std::make_shared<HostBuffer>(pages_->data() + p.begin, tensor.type.bytes(), pages_);
    p.memory = pages_.get();
  }
  shared_ = std::move(paged);
}

size_t StateTensors::offset(size_t state, int slot, int64_t row) const {
  return static_cast<size_t>((slot * tensors_[state].type.shape[1] + row) * states_[state].row_bytes());
}

void StateTensors::make_room(int slot, int64_t begin, int64_t end) {
  for (const Shared& s : shared_) {
    const int64_t positions = states_[s.state].rows.positions;
    const size_t first = s.begin + offset(s.state, slot, begin / positions);
    const size_t last = s.begin + offset(s.state, slot, end / positions);
    if (first < last) s.memory->own(first, last);
  }
}

void StateTensors::copy_entries(int from, int to, int64_t position) {
  const auto live_bytes = [&](size_t i) {
    return static_cast<size_t>(states_[i].live(position).count * states_[i].row_bytes());
  };
  for (const Shared& s : shared_)
    s.memory->copy(s.begin + offset(s.state, to, 0), s.begin + offset(s.state, from, 0), live_bytes(s.state));
  for (const size_t i : apart_) {
    Buffer& memory = *tensors_[i].values;
    queue(i).copy(memory, offset(i, to, 0), memory, offset(i, from, 0), live_bytes(i));
  }
}

}  // namespace v4rt
