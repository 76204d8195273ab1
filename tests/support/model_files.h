#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "loaders/checkpoint/v4_names.h"
#include "loaders/checkpoint/weight_source.h"
#include "loaders/files/json_file.h"
#include "ops/core/arith.h"
#include "ops/core/dequant.h"
#include "ops/core/exact_math.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {

// A checkpoint in memory, to be changed and written to files again.
struct ModelFiles {
  std::vector<RawTensor> tensors;
  nlohmann::json config;

  RawTensor* find(const std::string& name) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const RawTensor& t) { return t.name == name; });
    return found == tensors.end() ? nullptr : &*found;
  }
  RawTensor& at(const std::string& name) {
    RawTensor* tensor = find(name);
    if (tensor == nullptr) throw std::runtime_error("no tensor " + name);
    return *tensor;
  }
  void drop(const std::function<bool(const std::string&)>& unwanted) {
    std::erase_if(tensors, [&](const RawTensor& t) { return unwanted(t.name); });
  }
  void rename(const std::function<std::string(const std::string&)>& name_of) {
    for (RawTensor& t : tensors) t.name = name_of(t.name);
  }
  const std::string& write(const TempFolder& folder, size_t shift = 0) const {
    folder.write("config.json", config.dump());
    folder.write("model.safetensors", safetensors_bytes(tensors, shift));
    return folder.path();
  }
};

inline ModelFiles load_model_files(const std::string& folder) {
  return {read_raw(folder), nlohmann::json::parse(read_text_file(folder + "/config.json"))};
}

inline ModelFiles tiny_flash_files() {
  return load_model_files(std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash");
}

inline std::string scale_name(const std::string& weight) {
  return weight.substr(0, weight.rfind(".weight")) + ".scale";
}
inline bool is_scale_name(const std::string& name) { return name.ends_with(".scale"); }

inline uint8_t byte_at(const RawTensor& t, size_t i) { return static_cast<uint8_t>(t.bytes[i]); }

template <class T>
T number_at(const RawTensor& t, size_t i) {
  T value;
  std::memcpy(&value, t.bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// The numbers of a stored tensor according to the specification, independent of the loader. FP4: shape in bytes.
inline std::vector<float> expand(const RawTensor& t, const RawTensor* scale) {
  const size_t rows = t.shape.size() < 2 ? 1 : static_cast<size_t>(t.shape[0]);
  const size_t cols = t.bytes.empty() ? 0 : static_cast<size_t>(t.shape.back());
  std::vector<float> out;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) {
      const size_t i = r * cols + c;
      if (t.dtype == "F32") out.push_back(number_at<float>(t, i));
      if (t.dtype == "BF16") out.push_back(em_float(static_cast<uint32_t>(number_at<uint16_t>(t, i)) << 16));
      if (t.dtype == "F16") out.push_back(f16_to_float(number_at<uint16_t>(t, i)));
      if (t.dtype == "I64") out.push_back(static_cast<float>(number_at<int64_t>(t, i)));
      if (t.dtype == "F8_E4M3") {
        out.push_back(em_e4m3(byte_at(t, i)) * em_e8m0(byte_at(*scale, r / 128 * ceil_div(cols, 128) + c / 128)));
      }
      if (t.dtype == "I8") {
        for (size_t half = 0; half < 2; ++half) {
          const float s = em_e8m0(byte_at(*scale, r * ceil_div(2 * cols, 32) + (2 * c + half) / 32));
          out.push_back(em_e2m1(static_cast<uint32_t>(byte_at(t, i)) >> (4 * half) & 15u) * s);
        }
      }
    }
  }
  return out;
}

// Every tensor as F32, with scales multiplied in; expert tables as they are.
inline void expand_all(ModelFiles& files) {
  for (RawTensor& t : files.tensors) {
    if (t.dtype == "I64" || is_scale_name(t.name)) continue;
    const std::vector<float> values = expand(t, files.find(scale_name(t.name)));
    if (t.dtype == "I8") t.shape.back() *= 2;
    t.dtype = "F32";
    t.bytes = bytes_of(values);
  }
  files.drop(is_scale_name);
}

// gate_up_proj [E, 2I, d] and down_proj [E, d, I] made from the experts' own tensors; scale planes too.
inline void fuse_experts(ModelFiles& files, const std::string& part, const std::string& suffix) {
  const int layers = files.config["num_hidden_layers"], experts = files.config["n_routed_experts"];
  for (int layer = 0; layer < layers; ++layer) {
    const std::string mlp = "model.layers." + std::to_string(layer) + ".mlp.experts.";
    RawTensor gate_up{mlp + "gate_up_proj" + suffix, "", {}, ""}, down{mlp + "down_proj" + suffix, "", {}, ""};
    for (int e = 0; e < experts; ++e) {
      const std::string expert = mlp + std::to_string(e) + ".";
      const RawTensor &gate = files.at(expert + "gate_proj" + part), &up = files.at(expert + "up_proj" + part);
      const RawTensor& d = files.at(expert + "down_proj" + part);
      gate_up.bytes += gate.bytes + up.bytes;
      down.bytes += d.bytes;
      gate_up.dtype = gate.dtype;
      down.dtype = d.dtype;
      gate_up.shape = {experts, 2 * gate.shape[0], gate.shape[1]};
      down.shape = {experts, d.shape[0], d.shape[1]};
    }
    files.tensors.push_back(gate_up);
    files.tensors.push_back(down);
  }
  files.drop([&](const std::string& name) {
    return name.find(".mlp.experts.") != std::string::npos && name.ends_with("_proj" + part) &&
           !name.ends_with("gate_up_proj" + suffix) && name.find(".experts.gate_up") == std::string::npos &&
           name.find(".experts.down_proj") == std::string::npos;
  });
}

// The values of a view, decoded.
inline std::vector<float> decode(const WeightView& view) {
  class Bytes final : public Buffer {
   public:
    explicit Bytes(const std::vector<std::span<const std::byte>>& parts) {
      for (const auto part : parts) bytes_.insert(bytes_.end(), part.begin(), part.end());
    }
    size_t bytes() const override { return bytes_.size(); }
    std::byte* host() const override { return const_cast<std::byte*>(bytes_.data()); }
    BufferPtr slice(size_t, size_t) override { return nullptr; }

   private:
    std::vector<std::byte> bytes_;
  };
  const auto values = std::make_shared<Bytes>(view.parts), scales = std::make_shared<Bytes>(view.scale_parts);
  if (values->bytes() != view.type.bytes() || scales->bytes() != view.type.scale_bytes()) {
    throw std::runtime_error("parts do not make up " + to_string(view.type));
  }
  std::vector<float> out(static_cast<size_t>(view.type.shape.elements()));
  dequantise({view.type, values, scales}, 0, out);
  return out;
}

// The weights of `source` whose values differ from `expected`, which may have more weights.
inline std::vector<std::string> differences(const WeightSource& source, const WeightSource& expected) {
  std::vector<std::string> names;
  for (const WeightInfo& info : v4_weights(source.config())) {
    const WeightView view = source.get(info.name);
    const bool same_type = view.type == source.type(info.name) && view.type.shape == info.shape;
    const std::vector<float> a = decode(view), b = decode(expected.get(info.name));
    if (!same_type || a.size() != b.size() || std::memcmp(a.data(), b.data(), a.size() * 4) != 0)
      names.push_back(info.name);
  }
  return names;
}

// Made-up files for any configuration: random codes and small numbers. `dtype` chooses a matrix's type by name:
// "F8_E4M3", "I8", "BF16", "F16" or "F32".
inline ModelFiles made_up_files(const nlohmann::json& config,
                                const std::function<std::string(const std::string&)>& dtype) {
  ModelFiles files{{}, config};
  std::mt19937 random(7);
  const V4Config c = parse_v4_config(config.dump(), "made up");
  const auto random_bytes = [&](int64_t count, auto byte) {
    std::string bytes;
    for (int64_t i = 0; i < count; ++i) bytes += static_cast<char>(byte());
    return bytes;
  };
  const auto add_matrix = [&](const std::string& name, int64_t n, int64_t k) {
    const std::string type = dtype(name);
    if (type == "F8_E4M3") {
      files.tensors.push_back(
          {name, type, {n, k}, random_bytes(n * k, [&] { return random() % 0x7f + (random() % 2) * 0x80; })});
      const int64_t rows = ceil_div(n, 128), cols = ceil_div(k, 128);
      files.tensors.push_back(
          {scale_name(name), "F8_E8M0", {rows, cols}, random_bytes(rows * cols, [&] { return 110 + random() % 10; })});
    } else if (type == "I8") {
      files.tensors.push_back({name, type, {n, k / 2}, random_bytes(n * k / 2, [&] { return random(); })});
      files.tensors.push_back(
          {scale_name(name), "F8_E8M0", {n, ceil_div(k, 32)}, random_bytes(n * (ceil_div(k, 32)), [&] {
             return 110 + random() % 10;
           })});
    } else {
      const int64_t width = type == "F32" ? 4 : 2;  // high bytes below 0x3c: small finite numbers
      files.tensors.push_back({name, type, {n, k}, {}});
      for (int64_t i = 0; i < n * k; ++i)
        files.tensors.back().bytes +=
            random_bytes(width - 1, [&] { return random(); }) + static_cast<char>(random() % 0x3c);
    }
  };
  for (const WeightInfo& info : v4_weights(c)) {
    for (const std::string& name : official_parts(info)) {
      const bool pair = info.assembly == Assembly::kPair;
      if (info.role == WeightRole::kMatrix || info.role == WeightRole::kEmbedding) {
        add_matrix(name, pair ? info.shape[0] / 2 : info.shape[-2], info.shape[-1]);
      } else if (info.role == WeightRole::kTable) {
        std::vector<int64_t> ids;
        for (int64_t i = 0; i < info.shape.elements(); ++i) ids.push_back(i % info.shape[1]);
        files.tensors.push_back({name, "I64", {info.shape[0], info.shape[1]}, bytes_of(ids)});
      } else {
        std::vector<float> ones(static_cast<size_t>(info.shape.elements()), 1.0f);
        files.tensors.push_back({name, "F32", {info.shape.dims().begin(), info.shape.dims().end()}, bytes_of(ones)});
      }
    }
  }
  return files;
}

}  // namespace v4rt
