#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "loaders/checkpoint/checkpoint_layout.h"
#include "loaders/checkpoint/weight_source.h"

namespace v4rt {

// Weights out of files. Values are views on a file's bytes where these serve as they lie, otherwise memory of the
// view's own; so are token tables always, since a program follows what it reads there, and a file may change: get()
// checks them while it copies them.
//
// check_values() reads every number once, but FP4 codes, which can be no NaN: of V4-Flash's 145 GiB these are 16 (8.1
// of experts' scales, 5.5 in FP8, 2.8 in BF16 and F32), of a checkpoint in BF16 all. Done just before a weight is
// copied, it costs a pass over memory and no reading of the disk, since the copy finds the pages there. Only what is
// used where it lies is read when a model is opened though it need not be: with a weight cache the embeddings (1 GiB)
// and small tensors.
class CheckpointSource final : public WeightSource {
 public:
  CheckpointSource(V4Config config, std::shared_ptr<const SafetensorsSet> set, std::vector<WeightLayout> layouts);

  const V4Config& config() const override { return config_; }
  bool has(std::string_view name) const override;
  TensorType type(std::string_view name) const override;
  ActivationRounding activation_rounding(std::string_view name) const override;
  WeightView get(std::string_view name) const override;
  void check_values(std::string_view name) const override;
  void release(const WeightView& view) const override;
  bool is_mapped(std::span<const std::byte> bytes) const override;
  void check_intact() const override;
  std::optional<WeightIdentity> identity() const override;

 private:
  size_t index_of(std::string_view name) const;

  V4Config config_;
  std::shared_ptr<const SafetensorsSet> set_;
  std::vector<WeightLayout> layouts_;
  std::unordered_map<std::string, size_t> by_name_;
  mutable std::vector<std::atomic<bool>> checked_;  // per layout: its values were looked at
};

}  // namespace v4rt
