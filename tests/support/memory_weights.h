#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "loaders/checkpoint/v4_names.h"
#include "loaders/checkpoint/weight_source.h"
#include "ops/core/error.h"

namespace v4rt {

// Weights in memory, for made-up models. Types are BF16 for norms and F32 for the rest, unless `matrix` says otherwise.
class MemoryWeights final : public WeightSource {
 public:
  using Fill = std::function<float(const WeightInfo& weight, int64_t index)>;

  // F32 weights; `fill` gives every element; tables (tid2eid) take its integer part.
  MemoryWeights(const V4Config& config, const Fill& fill) : config_(config) {
    for (const WeightInfo& weight : v4_weights(config)) {
      auto& bytes = bytes_[weight.name];
      const bool table = weight.role == WeightRole::kTable;
      types_[weight.name] = {table ? DType::kI32 : DType::kF32, weight.shape};
      bytes.resize(types_[weight.name].bytes());
      for (int64_t i = 0; i < weight.shape.elements(); ++i) {
        const float value = fill(weight, i);
        const auto id = static_cast<int32_t>(value);
        std::memcpy(bytes.data() + i * 4, table ? static_cast<const void*>(&id) : &value, 4);
      }
    }
  }

  const V4Config& config() const override { return config_; }
  bool has(std::string_view name) const override { return types_.count(std::string(name)) != 0; }
  WeightView get(std::string_view name) const override {
    const auto it = types_.find(std::string(name));
    check(it != types_.end(), Code::kNotFound, "no weight '{}'", name);
    return {it->second, {bytes_.at(it->first)}, {}, nullptr};
  }

 private:
  V4Config config_;
  std::map<std::string, TensorType> types_;
  std::map<std::string, std::vector<std::byte>> bytes_;
};

}  // namespace v4rt
