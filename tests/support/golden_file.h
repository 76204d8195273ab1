#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "loaders/safetensors/safetensors.h"
#include "ops/core/error.h"

namespace v4rt {

// Values of a safetensors file by name.
class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path) : set_(SafetensorsSet::open(path)) {}

  bool has(const std::string& name) const { return set_->find(name) != nullptr; }
  const Shape& shape(const std::string& name) const { return find(name).shape; }
  std::vector<float> f32(const std::string& name) const { return read<float>(name, StoredType::kF32); }
  std::vector<int32_t> i32(const std::string& name) const { return read<int32_t>(name, StoredType::kI32); }

 private:
  const StoredTensor& find(const std::string& name) const {
    const StoredTensor* tensor = set_->find(name);
    check(tensor != nullptr, Code::kNotFound, "no golden value '{}'", name);
    return *tensor;
  }
  template <class T>
  std::vector<T> read(const std::string& name, StoredType type) const {
    const StoredTensor& tensor = find(name);
    check(tensor.type == type, Code::kInvalidArgument, "golden value '{}' is {}", name, spelling(tensor.type));
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

  std::shared_ptr<const SafetensorsSet> set_;
};

}  // namespace v4rt
