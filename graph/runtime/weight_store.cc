#include "graph/runtime/weight_store.h"

#include <algorithm>

#include "graph/runtime/weight_copy.h"

namespace v4rt {
namespace {

size_t add_bytes(size_t a, size_t b) {
  size_t sum = 0;
  check(!__builtin_add_overflow(a, b, &sum), Code::kOutOfMemory, "the weights are too large to address");
  return sum;
}

OpPtr repack_of(const Plan& plan, SlotId slot) {
  const auto found =
      std::find_if(plan.rebinds.begin(), plan.rebinds.end(), [&](const Rebind& r) { return r.slot == slot; });
  return found == plan.rebinds.end() ? nullptr : found->op;
}

size_t bytes_of(const TensorType& type) { return add_bytes(type.bytes(), type.scale_bytes()); }

}  // namespace

void WeightStore::add(const Plan& plan) {
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const Slot& slot = plan.slots[i];
    if (slot.storage != Storage::kWeight || known_.contains(key(slot))) continue;
    const WeightView view = source_->get(slot.name);
    TensorType expected = slot.type;
    expected.layout = view.type.layout;
    check(view.type == expected, Code::kInvalidArgument, "weight {} is {}, the graph expects {}", slot.name,
          to_string(view.type), to_string(expected));
    known_.insert(key(slot));
    if (import(view, slot)) continue;
    missing_.push_back({key(slot), slot.type, repack_of(plan, static_cast<SlotId>(i))});
    size_t& copied = copied_[static_cast<size_t>(slot.device)];
    copied = add_bytes(copied, bytes_of(slot.type));
  }
}

// Uses the loader's memory as it is, where the device can and the weight lies in one piece.
bool WeightStore::import(const WeightView& view, const Slot& slot) {
  const bool quantised = view.type.scale_bytes() > 0;
  const bool in_one = view.parts.size() == 1 && (!quantised || view.scale_parts.size() == 1);
  if (slot.type.layout != view.type.layout || !in_one) return false;
  Device& device = *devices_[static_cast<size_t>(slot.device)];
  Tensor tensor{.type = slot.type, .values = device.import_host(view.parts[0]), .scales = nullptr};
  if (quantised && tensor.values != nullptr) tensor.scales = device.import_host(view.scale_parts[0]);
  if (tensor.values == nullptr || (quantised && tensor.scales == nullptr)) return false;
  bound_.emplace(key(slot), Bound{std::move(tensor), view.owner});
  return true;
}

void WeightStore::load(const Progress& progress) {
  size_t total = 0, done = 0;
  for (const Missing& m : missing_) total = add_bytes(total, bytes_of(m.type));
  std::map<int, WeightCopier> copiers;
  while (!missing_.empty()) {
    const Missing m = missing_.front();
    const auto& [name, device, layout] = m.key;
    WeightCopier& copier = copiers.try_emplace(device, *devices_[static_cast<size_t>(device)]).first->second;
    const WeightView view = source_->get(name);
    bound_.emplace(m.key, Bound{copier.copy(view, m.type, m.repack), nullptr});
    missing_.erase(missing_.begin());
    source_->release(view);
    done += bytes_of(m.type);
    if (progress) progress(static_cast<double>(done) / static_cast<double>(total));
  }
}

const Tensor& WeightStore::tensor(const Slot& slot) const {
  const auto found = bound_.find(key(slot));
  check(found != bound_.end(), Code::kInternal, "weight {} is not bound", slot.name);
  return found->second.tensor;
}

size_t WeightStore::bytes() const {
  size_t sum = 0;
  for (const auto& [key, bound] : bound_) sum = add_bytes(sum, bytes_of(bound.tensor.type));
  for (const Missing& m : missing_) sum = add_bytes(sum, bytes_of(m.type));
  return sum;
}

}  // namespace v4rt
