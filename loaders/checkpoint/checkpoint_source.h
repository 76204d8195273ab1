#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "loaders/checkpoint/checkpoint_layout.h"
#include "loaders/checkpoint/weight_source.h"

namespace v4rt {

// Weights from files. A view points into a file where the bytes can be used as they are; otherwise it has memory of its
// own. Token tables are always copied: kernels use their values as indices, so get() checks them while it copies, and
// what happens to the file afterwards does not matter.
//
// check_values() reads every number once, except FP4 codes, which cannot be NaN. Of V4-Flash's 145 GiB that is 16 (8.1
// of experts' scales, 5.5 in FP8, 2.8 in BF16 and F32); of a checkpoint in BF16 it is everything. It is done right
// before a weight is copied, so it costs a pass over memory but no disk access, since the copy then finds the pages in
// memory. Only weights used in place are read just for the check: with a weight cache, the embeddings (1 GiB) and small
// tensors.
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
  mutable std::vector<std::atomic<bool>> checked_;  // per layout: its values were checked
};

}  // namespace v4rt
