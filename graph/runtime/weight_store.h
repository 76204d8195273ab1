#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "graph/plan/expert_prefetch.h"
#include "graph/plan/plan.h"
#include "graph/runtime/weight_cache.h"
#include "graph/runtime/weight_copy.h"
#include "loaders/checkpoint/weight_source.h"

namespace v4rt {

// The weights of a model on its devices, shared by all plans. add() registers a plan's weights and binds those that a
// device can use in place, in the loader's files or in the cache's. load() makes the others: in the cache, for devices
// that use it, otherwise on the device. Not thread-safe.
class WeightStore {
 public:
  using Progress = std::function<void(std::string_view what, double done)>;  // done in [0, 1]

  // `cache` empty: none.
  WeightStore(std::shared_ptr<const WeightSource> source, std::vector<std::shared_ptr<Device>> devices,
              std::optional<WeightCache> cache = std::nullopt);

  void add(const Plan& plan);  // throws Error when the source's weight is not of the type that the plan expects
  void load(const Progress& progress);  // makes what add() left over

  bool in_host_memory(int device) const;  // the device uses the host's memory
  void check_cache_intact() const;        // throws Error when a file of it was changed

  const Tensor& tensor(const Slot& slot) const;
  Residence residence(const Slot& slot) const;  // after load()
  size_t copied_bytes(int device) const {
    return copied_[static_cast<size_t>(device)];
  }  // what load() has copied, or is going to
  size_t largest_copied(int device) const { return largest_[static_cast<size_t>(device)]; }  // one buffer of these
  size_t staging_bytes(int device) const { return staging_[static_cast<size_t>(device)]; }   // at most, during load()
  size_t to_copy(const Slot& slot) const;  // bytes of it that load() is going to copy; 0: it is used in place
  size_t bytes() const;                    // of all weights of all plans

 private:
  // A weight may be on several devices, in several layouts, and cut into ranges.
  using Key = std::tuple<std::string, int, Layout, int64_t, int64_t>;
  struct Bound {
    Tensor tensor;
    std::shared_ptr<const void> owner;  // of memory used in place
    bool mapped = false;                // the memory is a mapped file
  };
  struct Missing {
    Key key;
    TensorType type;
    OpPtr repack;
    bool cached;  // goes into the cache
  };

  static Key key(const Slot& slot) {
    return {slot.name, slot.device, slot.type.layout, slot.range.first, slot.range.count};
  }
  static WeightRange range(const Key& key) { return {std::get<3>(key), std::get<4>(key)}; }
  static std::string cached_name(const Key& key);
  WeightView view(const Key& key) const;
  Device& device(const Key& key) const { return *devices_[static_cast<size_t>(std::get<1>(key))]; }
  WeightCopier& copier(const Key& key, std::map<int, WeightCopier>& copiers) const;
  bool bind(const Key& key, const TensorType& type, WeightFile::Planes planes, std::shared_ptr<const void> owner,
            bool mapped);
  bool bind_cached(const Key& key, const TensorType& type);
  bool bind_stored(const Key& key, const TensorType& type, const WeightView& view);
  void fill_cache(const Progress& progress);
  void write(WeightFileWriter& writer, const std::vector<Missing>& all, const Progress& progress);
  void copy(const Progress& progress);
  WeightView checked(
      const Key& key) const;  // right before it is copied, while the pages that the check has read are in memory

  std::shared_ptr<const WeightSource> source_;
  std::vector<std::shared_ptr<Device>> devices_;
  std::optional<WeightCache> cache_;
  std::set<Key> known_;  // bound or missing
  std::map<Key, Bound> bound_;
  std::vector<Missing> missing_;
  std::vector<std::string> unchecked_;  // used in place, their values not checked yet
  std::vector<size_t> copied_;          // bytes per device
  std::vector<size_t> largest_;         // bytes in one buffer of these
  std::vector<size_t> staging_;
  bool mapped_weights_fit_ = true;  // in memory, all of them at once
};

}  // namespace v4rt
