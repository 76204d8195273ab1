#include "graph/plan/carrier.h"

#include <algorithm>

namespace v4rt {
namespace {

bool reads(const PlanStep& step, SlotId slot) {
  if (const auto* launch = std::get_if<Launch>(&step))
    return std::ranges::find(launch->args, slot) != launch->args.end();
  return std::get<Transfer>(step).from == slot;
}

std::unique_ptr<LaterCopy> later_copy(Queue* queue) {
  auto* overlapping = dynamic_cast<OverlappingQueue*>(queue);
  return overlapping != nullptr ? overlapping->later_copy() : nullptr;
}

}  // namespace

Carrier::Carrier(const Plan& plan, std::span<const Tensor> tensors, std::span<Queue* const> queues)
    : crossings_(plan.steps.size()), first_readers_(plan.steps.size() + 1) {
  size_t n = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const auto* transfer = std::get_if<Transfer>(&plan.steps[i]);
    if (transfer == nullptr) continue;
    const auto queue = [&](SlotId id) {
      return queues[static_cast<size_t>(plan.slots[static_cast<size_t>(id)].device)];
    };
    const Tensor &from = tensors[static_cast<size_t>(transfer->from)], &to = tensors[static_cast<size_t>(transfer->to)];
    auto crossing =
        std::make_unique<Crossing>(Crossing{queue(transfer->from), queue(transfer->to), n++ % kStagings, {}});
    size_t bytes = 0;
    const auto add = [&](const BufferPtr& source, const BufferPtr& target, size_t size) {
      if (size == 0) return;
      crossing->planes.push_back({source, target, bytes, size, later_copy(crossing->from), later_copy(crossing->to)});
      bytes += size;
    };
    add(from.values, to.values, from.type.bytes());
    add(from.scales, to.scales, from.type.scale_bytes());
    std::vector<std::byte>& staging = stagings_[crossing->staging].bytes;
    staging.resize(std::max(staging.size(), bytes));
    size_t reader = i + 1;
    while (reader < plan.steps.size() && !reads(plan.steps[reader], transfer->to)) ++reader;
    first_readers_[reader].push_back(crossing.get());
    crossings_[i] = std::move(crossing);
  }
}

void Carrier::reset() {
  for (Staging& staging : stagings_) {
    if (Crossing* crossing = std::exchange(staging.arriving, nullptr))
      for (const Plane& plane : crossing->planes) plane.down->wait();
  }
}

void Carrier::begin(size_t step) {
  Crossing& crossing = *crossings_[step];
  Staging& staging = stagings_[crossing.staging];
  leave(staging);
  for (const Plane& plane : crossing.planes) {
    const std::span<std::byte> here = std::span(staging.bytes).subspan(plane.at, plane.bytes);
    if (plane.down != nullptr)
      plane.down->download(here, *plane.from, 0);
    else
      crossing.from->download(here, *plane.from, 0);
  }
  staging.arriving = &crossing;
  if (std::ranges::all_of(crossing.planes, [](const Plane& plane) { return plane.down == nullptr; })) arrive(crossing);
}

void Carrier::arrive(size_t step) { arrive(*crossings_[step]); }

void Carrier::before(size_t step) {
  for (Crossing* crossing : first_readers_[step]) arrive(*crossing);
}

void Carrier::arrive(Crossing& crossing) {
  Staging& staging = stagings_[crossing.staging];
  if (staging.arriving != &crossing) return;  // it has
  staging.arriving = nullptr;
  for (const Plane& plane : crossing.planes) {
    if (plane.down != nullptr) plane.down->wait();
    const std::span<const std::byte> here = std::span(staging.bytes).subspan(plane.at, plane.bytes);
    if (plane.up != nullptr)
      plane.up->upload(*plane.to, 0, here);
    else
      crossing.to->upload(*plane.to, 0, here);
  }
  staging.departing = &crossing;
}

// Makes its bytes free.
void Carrier::leave(Staging& staging) {
  if (staging.arriving != nullptr) arrive(*staging.arriving);
  if (Crossing* crossing = std::exchange(staging.departing, nullptr))
    for (const Plane& plane : crossing->planes)
      if (plane.up != nullptr) plane.up->wait();
}

}  // namespace v4rt
