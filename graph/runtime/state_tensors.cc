#include "graph/runtime/state_tensors.h"

#include <algorithm>
#include <numeric>

#include "backend/host_buffer.h"
#include "ops/core/arith.h"

namespace v4rt {

int64_t room_for(int64_t wanted, int64_t context) {
  int64_t room = context;
  while (room > 1 && ceil_div(room, 2) >= wanted) room = ceil_div(room, 2);
  return room;
}

StateTensors::StateTensors(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues)
    : states_(model.states),
      devices_(model.devices),
      queues_(queues),
      slots_(model.options.slots),
      context_(model.options.context),
      positions_(room_for(model.options.reserve, context_)),
      tensors_(states_.size()) {
  place_in_pages();
  for (size_t i = 0; i < states_.size(); ++i) {
    Tensor& tensor = tensors_[i];
    if (tensor.values != nullptr) continue;  // in pages
    tensor = {.type = states_[i].type, .values = nullptr, .scales = nullptr};
    if (!states_[i].rows.ring()) apart_.push_back(i);
    if (memory_of(states_[i]) == StateMemory::kGrowing) {
      tensor.type = states_[i].type_for(positions_);
      growing_.push_back(i);
    }
    tensor.values = devices_[static_cast<size_t>(states_[i].device)]->allocate(tensor.type.bytes());
  }
  std::ranges::sort(growing_, std::greater(), [&](size_t i) { return states_[i].type.bytes(); });
}

StateMemory StateTensors::memory_of(const StateInfo& state) const {
  if (state.rows.ring()) return StateMemory::kWhole;
  return state_memory(*devices_[static_cast<size_t>(state.device)]);
}

// Slots begin at extents, so they have some rows more than the plan's, which nobody touches. A lone sequence has nobody
// to share with.
void StateTensors::place_in_pages() {
  size_t largest = 0, bytes = 0;
  for (const StateInfo& state : states_) {
    if (slots_ > 1 && memory_of(state) == StateMemory::kPages)
      largest = std::max(largest, state.type.bytes() / static_cast<size_t>(slots_));
  }
  if (largest == 0) return;
  const size_t extent = SharedPages::extent_bytes(largest);
  for (size_t i = 0; i < states_.size(); ++i) {
    if (memory_of(states_[i]) != StateMemory::kPages) continue;
    const auto rows = static_cast<int64_t>(extent / std::gcd(extent, static_cast<size_t>(states_[i].row_bytes())));
    const TensorType& type = tensors_[i].type = states_[i].with_rows(round_up(states_[i].type.shape[1], rows));
    paged_.push_back({i, bytes});
    bytes += type.bytes();
  }
  pages_ = SharedPages::create(bytes, largest);
  if (pages_ == nullptr) return paged_.clear();
  for (const Paged& p : paged_) {
    Tensor& tensor = tensors_[p.state];
    tensor.values = std::make_shared<HostBuffer>(pages_->data() + p.begin, tensor.type.bytes(), pages_);
  }
}

size_t StateTensors::offset(size_t state, int slot, int64_t row) const {
  return static_cast<size_t>((slot * tensors_[state].type.shape[1] + row) * states_[state].row_bytes());
}

void StateTensors::make_room(int slot, int64_t begin, int64_t end) {
  if (!has_room(end)) grow(room_for(end, context_));
  for (const Paged& p : paged_) {
    const StateInfo& state = states_[p.state];
    const size_t first = p.begin + offset(p.state, slot, begin / state.rows.positions);
    const size_t last = p.begin + offset(p.state, slot, end / state.rows.positions);
    if (first < last) pages_->own(first, last);
  }
}

// One state after the other, so that one is held twice at a time.
void StateTensors::grow(int64_t positions) {
  for (const size_t i : growing_) {
    Tensor larger = tensors_[i];
    larger.type = states_[i].type_for(positions);
    larger.values = devices_[static_cast<size_t>(states_[i].device)]->allocate(larger.type.bytes());
    const auto slots = static_cast<size_t>(slots_);
    const size_t from = tensors_[i].type.bytes() / slots, to = larger.type.bytes() / slots;
    for (size_t slot = 0; slot < slots; ++slot)
      queue(i).copy(*larger.values, slot * to, *tensors_[i].values, slot * from, from);
    queue(i).finish();
    tensors_[i] = std::move(larger);
  }
  positions_ = positions;
}

void StateTensors::copy_entries(int from, int to, int64_t position) {
  for (const Paged& p : paged_) {
    const auto bytes = static_cast<size_t>(states_[p.state].live(position).count * states_[p.state].row_bytes());
    pages_->copy(p.begin + offset(p.state, to, 0), p.begin + offset(p.state, from, 0), bytes);
  }
  for (const size_t i : apart_) {
    Buffer& memory = *tensors_[i].values;
    const auto bytes = static_cast<size_t>(states_[i].live(position).count * states_[i].row_bytes());
    queue(i).copy(memory, offset(i, to, 0), memory, offset(i, from, 0), bytes);
  }
}

}  // namespace v4rt
