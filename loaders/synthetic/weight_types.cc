#include "loaders/synthetic/weight_types.h"

#include <map>

#include "loaders/checkpoint/checkpoint_layout.h"
#include "loaders/synthetic/synthetic_checkpoint.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

class SyntheticTypes final : public WeightSource {
 public:
  explicit SyntheticTypes(const V4Config& config) : config_(config) {
    std::map<std::string, StoredType> stored;
    for (const SyntheticTensor& t : synthetic_tensors(config)) stored.emplace(t.tensor.name, t.tensor.type);
    for (const WeightInfo& info : v4_weights(config))
      types_.emplace(info.name, TensorType{value_dtype(stored.at(official_parts(info).front())), info.shape});
  }

  const V4Config& config() const override { return config_; }
  bool has(std::string_view name) const override { return types_.contains(name); }
  TensorType type(std::string_view name) const override {
    const auto found = types_.find(name);
    check(found != types_.end(), Code::kNotFound, "weight '{}' is missing", name);
    return found->second;
  }
  WeightView get(std::string_view name) const override { return {type(name), {}, {}, nullptr}; }

 private:
  V4Config config_;
  std::map<std::string, TensorType, std::less<>> types_;
};

}  // namespace

std::shared_ptr<const WeightSource> synthetic_types(const V4Config& config) {
  return std::make_shared<SyntheticTypes>(config);
}

}  // namespace v4rt
