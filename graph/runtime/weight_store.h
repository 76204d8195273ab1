#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "graph/plan/plan.h"
#include "loaders/weight_source.h"

namespace v4rt {

// The weights of a model on its devices, shared by all plans: a plan's weights are first asked for with add(), which
// takes what a device can use where the loader has it, then load() copies the rest. Not for several threads at once.
class WeightStore {
 public:
  using Progress = std::function<void(double done)>;  // done in [0, 1]

  WeightStore(std::shared_ptr<const WeightSource> source, std::vector<std::shared_ptr<Device>> devices)
      : source_(std::move(source)), devices_(std::move(devices)), copied_(devices_.size(), 0) {}

  void add(const Plan& plan);  // throws Error when the source's weight is not of the type that the plan expects
  void load(const Progress& progress);  // copies what add() left over

  const Tensor& tensor(const Slot& slot) const;
  size_t copied_bytes(int device) const {
    return copied_[static_cast<size_t>(device)];
  }                      // what load() has copied or will
  size_t bytes() const;  // of all weights of all plans

 private:
  using Key = std::tuple<std::string, int, Layout>;  // one weight may be on several devices, in several layouts
  struct Bound {
    Tensor tensor;
    std::shared_ptr<const void> owner;  // of memory that is used where it lies
  };
  struct Missing {
    Key key;
    TensorType type;
    OpPtr repack;
  };

  static Key key(const Slot& slot) { return {slot.name, slot.device, slot.type.layout}; }
  bool import(const WeightView& view, const Slot& slot);

  std::shared_ptr<const WeightSource> source_;
  std::vector<std::shared_ptr<Device>> devices_;
  std::set<Key> known_;  // bound or missing
  std::map<Key, Bound> bound_;
  std::vector<Missing> missing_;
  std::vector<size_t> copied_;  // bytes per device
};

}  // namespace v4rt
