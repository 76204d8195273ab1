#include "graph/runtime/weight_store.h"

#include <algorithm>
#include <array>

#include "ops/core/host.h"

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

bool uses_host_memory(Device& device) {
  alignas(4096) static const std::array<std::byte, 4096> kPage{};
  return device.import_host(kPage) != nullptr;
}

// Calls `progress` with the share of `total` bytes that is done.
class Share {
 public:
  Share(const WeightStore::Progress& progress, std::string_view what, size_t total)
      : progress_(progress), what_(what), total_(total) {}
  void add(size_t bytes) {
    done_ += bytes;
    if (progress_) progress_(what_, static_cast<double>(done_) / static_cast<double>(total_));
  }

 private:
  const WeightStore::Progress& progress_;
  const std::string_view what_;
  const size_t total_;
  size_t done_ = 0;
};

}  // namespace

WeightStore::WeightStore(std::shared_ptr<const WeightSource> source, std::vector<std::shared_ptr<Device>> devices,
                         std::optional<WeightCache> cache)
    : source_(std::move(source)),
      devices_(std::move(devices)),
      cache_(std::move(cache)),
      copied_(devices_.size(), 0),
      largest_(devices_.size(), 0),
      staging_(devices_.size(), 0) {}

// Reads no values. What is in the cache needs no check by the loader: it was checked when it was written.
void WeightStore::add(const Plan& plan) {
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const Slot& slot = plan.slots[i];
    if (slot.storage != Storage::kWeight || known_.contains(key(slot))) continue;
    const TensorType stored = range_of(source_->type(slot.name), slot.range);
    TensorType expected = slot.type;
    expected.layout = stored.layout;
    check(stored == expected, Code::kInvalidArgument, "weight {} is {}, the graph expects {}", slot.name,
          to_string(stored), to_string(expected));
    known_.insert(key(slot));
    if (bind_cached(key(slot), slot.type)) continue;
    const bool as_stored = stored.layout == slot.type.layout;
    if (as_stored && bind_stored(key(slot), slot.type, view(key(slot)))) {
      unchecked_.push_back(slot.name);
      continue;
    }
    const bool cached = cache_.has_value() && uses_host_memory(device(key(slot)));
    missing_.push_back({key(slot), slot.type, repack_of(plan, static_cast<SlotId>(i)), cached});
    const auto at = static_cast<size_t>(slot.device);
    if (missing_.back().repack != nullptr) {  // a matrix at a time, as it is stored and as it is wanted
      const size_t matrices = slot.type.shape.rank() == 3 ? static_cast<size_t>(slot.type.shape[0]) : 1;
      staging_[at] = std::max(staging_[at], 2 * (bytes_of(slot.type) / matrices));
    }
    if (cached) continue;
    copied_[at] = add_bytes(copied_[at], bytes_of(slot.type));
    largest_[at] = std::max(largest_[at], slot.type.bytes());
  }
}

size_t WeightStore::to_copy(const Slot& slot) const {
  const auto found = std::ranges::find_if(missing_, [&](const Missing& m) { return m.key == key(slot) && !m.cached; });
  return found == missing_.end() ? 0 : bytes_of(found->type);
}

std::string WeightStore::cached_name(const Key& key) {
  const auto [first, count] = range(key);
  return count == 0 ? std::get<0>(key) : fmt::format("{}[{}:{}]", std::get<0>(key), first, first + count);
}

WeightView WeightStore::view(const Key& key) const { return slice(source_->get(std::get<0>(key)), range(key)); }

// Uses the memory in place, if the device can.
bool WeightStore::bind(const Key& key, const TensorType& type, WeightFile::Planes planes,
                       std::shared_ptr<const void> owner, bool mapped) {
  const bool quantised = type.scale_bytes() > 0;
  Tensor tensor{.type = type, .values = device(key).import_host(planes.values), .scales = nullptr};
  if (quantised && tensor.values != nullptr) tensor.scales = device(key).import_host(planes.scales);
  if (tensor.values == nullptr || (quantised && tensor.scales == nullptr)) return false;
  bound_.emplace(key, Bound{std::move(tensor), std::move(owner), mapped});
  return true;
}

bool WeightStore::bind_cached(const Key& key, const TensorType& type) {
  if (!cache_) return false;
  const auto found = cache_->find(cached_name(key), type);
  return found && bind(key, type, found->planes, found->owner, true);
}

bool WeightStore::bind_stored(const Key& key, const TensorType& type, const WeightView& view) {
  const bool quantised = type.scale_bytes() > 0;
  const bool in_one = view.parts.size() == 1 && (!quantised || view.scale_parts.size() == 1);
  if (!in_one) return false;
  const WeightFile::Planes planes{view.parts[0], quantised ? view.scale_parts[0] : std::span<const std::byte>{}};
  const bool mapped = source_->is_mapped(planes.values) && (!quantised || source_->is_mapped(planes.scales));
  return bind(key, type, planes, view.owner, mapped);
}

void WeightStore::load(const Progress& progress) {
  for (const std::string& name : unchecked_) source_->check_values(name);
  unchecked_.clear();
  if (std::any_of(missing_.begin(), missing_.end(), [](const Missing& m) { return m.cached; })) fill_cache(progress);
  copy(progress);
  size_t mapped = 0;
  for (const auto& [key, bound] : bound_) {
    if (bound.mapped) mapped = add_bytes(mapped, bytes_of(bound.tensor.type));
  }
  mapped_weights_fit_ = mapped <= available_memory();
}

// Weights that the device cannot use in place stay missing, and are copied.
void WeightStore::fill_cache(const Progress& progress) {
  std::vector<Missing> all;
  const auto bind_found = [&] {
    std::erase_if(missing_, [&](const Missing& m) { return m.cached && bind_cached(m.key, m.type); });
  };
  const auto lacking = [&] {
    bind_found();
    std::vector<NewWeight> weights;
    std::set<std::pair<std::string, Layout>> taken;  // two devices may share one
    for (const Missing& m : missing_) {
      const std::string name = cached_name(m.key);
      if (!m.cached || cache_->find(name, m.type) || !taken.emplace(name, m.type.layout).second) continue;
      weights.push_back({name, m.type});
      all.push_back(m);
    }
    return weights;
  };
  WeightCache::Telling telling;
  if (progress) {
    telling.waiting = [&] { progress("waiting for another process to write the weight cache", 0); };
    telling.checking = [&](double done) { progress("checking the weight cache", done); };
  }
  cache_->complete(
      lacking, [&](WeightFileWriter& writer) { write(writer, all, progress); }, telling);
  bind_found();
}

void WeightStore::write(WeightFileWriter& writer, const std::vector<Missing>& all, const Progress& progress) {
  size_t total = 0;
  for (const Missing& m : all) total = add_bytes(total, bytes_of(m.type));
  Share share(progress, "writing the weight cache", total);
  std::map<int, WeightCopier> copiers;
  for (size_t i = 0; i < all.size(); ++i) {
    const Missing& m = all[i];
    const WeightView view = checked(m.key);
    copier(m.key, copiers).read(view, m.type, m.repack, [&](auto values, auto scales) {
      writer.append_values(i, values);
      writer.append_scales(i, scales);
      share.add(values.size() + scales.size());
    });
    source_->release(view);
  }
}

void WeightStore::copy(const Progress& progress) {
  size_t total = 0;
  for (const Missing& m : missing_) total = add_bytes(total, bytes_of(m.type));
  Share share(progress, "loading weights", total);
  std::map<int, WeightCopier> copiers;
  while (!missing_.empty()) {
    const Missing m = missing_.front();
    const WeightView view = checked(m.key);
    bound_.emplace(m.key, Bound{copier(m.key, copiers).copy(view, m.type, m.repack), nullptr});
    missing_.erase(missing_.begin());
    source_->release(view);
    share.add(bytes_of(m.type));
  }
}

WeightView WeightStore::checked(const Key& key) const {
  source_->check_values(std::get<0>(key));
  return view(key);
}

WeightCopier& WeightStore::copier(const Key& key, std::map<int, WeightCopier>& copiers) const {
  return copiers.try_emplace(std::get<1>(key), device(key)).first->second;
}

bool WeightStore::in_host_memory(int device) const { return uses_host_memory(*devices_[static_cast<size_t>(device)]); }

void WeightStore::check_cache_intact() const {
  if (cache_) cache_->check_intact();
}

const Tensor& WeightStore::tensor(const Slot& slot) const {
  const auto found = bound_.find(key(slot));
  check(found != bound_.end(), Code::kInternal, "weight {} is not bound", slot.name);
  return found->second.tensor;
}

Residence WeightStore::residence(const Slot& slot) const {
  const auto found = bound_.find(key(slot));
  if (found == bound_.end() || !found->second.mapped) return Residence::kMemory;
  return mapped_weights_fit_ ? Residence::kFile : Residence::kLargeFile;
}

size_t WeightStore::bytes() const {
  size_t sum = 0;
  for (const auto& [key, bound] : bound_) sum = add_bytes(sum, bytes_of(bound.tensor.type));
  for (const Missing& m : missing_) sum = add_bytes(sum, bytes_of(m.type));
  return sum;
}

}  // namespace v4rt
