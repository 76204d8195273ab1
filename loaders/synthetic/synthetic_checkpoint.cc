#include "loaders/synthetic/synthetic_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "loaders/checkpoint/v4_names.h"
#include "loaders/synthetic/random_values.h"
#include "loaders/synthetic/v4_release.h"
#include "ops/core/arith.h"
#include "ops/core/error.h"
#include "ops/core/folder.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigName = "config.json";

bool has(std::string_view name, std::string_view part) { return name.find(part) != std::string_view::npos; }

bool stored_in_bf16(std::string_view name) {
  return name == "embed.weight" || name == "head.weight" || name.ends_with("ffn.gate.weight") ||
         has(name, ".compressor.") || name.ends_with("weights_proj.weight");
}

class Planner {
 public:
  explicit Planner(const V4Config& config) : config_(config) {}

  std::vector<SyntheticTensor> plan() {
    for (const WeightInfo& info : v4_weights(config_)) {
      const Shape shape = shape_of_part(info);
      for (const std::string& name : official_parts(info)) add(info, name, shape);
    }
    return std::move(out_);
  }

 private:
  static Shape shape_of_part(const WeightInfo& info) {
    if (info.assembly == Assembly::kExperts) return {info.shape[1], info.shape[2]};
    if (info.assembly == Assembly::kPair) return {info.shape[0] / 2, info.shape[1]};
    return info.shape;
  }

  void add(const WeightInfo& info, const std::string& name, const Shape& shape) {
    switch (info.role) {
      case WeightRole::kMatrix:
      case WeightRole::kEmbedding: return add_matrix(info, name, shape);
      case WeightRole::kNorm: return numbers(name, StoredType::kBF16, shape, 1, 0.1);
      case WeightRole::kTable: return numbers(name, StoredType::kI64, shape, 0, 0);
      case WeightRole::kF32: return add_f32(name, shape);
    }
  }

  // Products with rows of deviation one have deviation one again. Embeddings are such rows themselves.
  static double deviation(const std::string& name, const Shape& shape) {
    return name == "embed.weight" ? 1 : 1 / std::sqrt(static_cast<double>(shape[-1]));
  }

  void add_matrix(const WeightInfo& info, const std::string& name, const Shape& shape) {
    const int64_t n = shape[0], k = shape[1];
    if (stored_in_bf16(name)) {
      numbers(name, StoredType::kBF16, shape, 0, std::sqrt(3) * deviation(name, shape));
    } else if (info.assembly == Assembly::kExperts) {
      numbers(name, StoredType::kI8, {n, ceil_div(k, 2)}, 0, 0);
      scales(name, {n, ceil_div(k, 32)}, RandomValues::kFp4MeanSquare, deviation(name, shape));
    } else {
      numbers(name, StoredType::kF8E4M3, shape, 0, 0);
      scales(name, {ceil_div(n, 128), ceil_div(k, 128)}, RandomValues::kFp8MeanSquare, deviation(name, shape));
    }
  }

  void add_f32(const std::string& name, const Shape& shape) {
    if (name.ends_with("_fn")) return numbers(name, StoredType::kF32, shape, 0, std::sqrt(3) * deviation(name, shape));
    // A bias much larger than the differences of scores would send all tokens to the same experts.
    numbers(name, StoredType::kF32, shape, 0, name.ends_with("gate.bias") ? 0.02 : 0.5);
  }

  void numbers(const std::string& name, StoredType type, const Shape& shape, double center, double half_width) {
    out_.push_back({{name, type, shape}, static_cast<float>(center), static_cast<float>(half_width), 0, 0});
  }

  void scales(const std::string& weight, const Shape& shape, double mean_square, double deviation) {
    constexpr std::string_view kWeight = "weight";
    const std::string name = weight.substr(0, weight.size() - kWeight.size()) + "scale";
    out_.push_back({{name, StoredType::kF8E8M0, shape}, 0, 0, mean_square, deviation});
  }

  const V4Config& config_;
  std::vector<SyntheticTensor> out_;
};

void fill(const SyntheticTensor& t, const V4Config& config, uint64_t seed, int64_t offset, std::span<std::byte> out) {
  const RandomValues random(seed, t.tensor.name);
  switch (t.tensor.type) {
    case StoredType::kI8: return random.fp4(offset, out);
    case StoredType::kF8E4M3: return random.fp8(offset, out);
    case StoredType::kF8E8M0: return random.scales(t.mean_square, t.deviation, offset, out);
    case StoredType::kBF16: return random.bf16(t.center, t.half_width, offset, out);
    case StoredType::kF32: return random.f32(t.center, t.half_width, offset, out);
    case StoredType::kI64: return random.choices(config.num_experts_per_token, config.num_experts, offset, out);
    default: fail(Code::kInternal, "tensor '{}': no random values of type {}", t.tensor.name, spelling(t.tensor.type));
  }
}

bool of_checkpoint(std::string_view name) {
  return name == kConfigName ||
         (name.starts_with("model") && (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")));
}

std::vector<std::string> checkpoint_files(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::string& name : names_in(folder, error))
    if (of_checkpoint(name)) names.push_back(std::move(name));
  std::sort(names.begin(), names.end());
  return names;
}

void check_room(const std::string& folder, int64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  const auto needed = static_cast<uintmax_t>(bytes);
  if (error || space.available >= needed) return;
  fail(Code::kInvalidArgument,
       "{}: the checkpoint takes {}, its disk has {} free: {} are missing; make room, or a smaller checkpoint", folder,
       human_bytes(needed), human_bytes(space.available), human_bytes(needed - space.available));
}

}  // namespace

std::vector<SyntheticTensor> synthetic_tensors(const V4Config& config) { return Planner(config).plan(); }

SyntheticSummary write_synthetic_checkpoint(const V4Config& config, const std::string& folder,
                                            const SyntheticOptions& options) {
  const std::vector<SyntheticTensor> tensors = synthetic_tensors(config);
  std::vector<NewTensor> headers;
  headers.reserve(tensors.size());
  for (const SyntheticTensor& t : tensors) headers.push_back(t.tensor);
  const SafetensorsWriter writer(std::move(headers), options.shard_bytes);
  const std::string config_text = official_config_json(config);
  const int64_t total = writer.file_bytes() + static_cast<int64_t>(config_text.size());

  std::vector<std::string> old = checkpoint_files(folder);
  check(old.empty() || options.replace, Code::kInvalidArgument,
        "{}: holds a checkpoint already ({}); name another folder, or replace it (--force)", folder,
        old.empty() ? std::string() : old.front());
  PendingFiles files(folder);
  check_room(folder, total);
  int64_t done = 0;
  writer.write(files, [&](size_t i, int64_t offset, std::span<std::byte> out) {
    fill(tensors[i], config, options.seed, offset, out);
    done += static_cast<int64_t>(out.size());
    if (options.progress) options.progress(done, writer.data_bytes());
  });
  files.begin(kConfigName);
  files.append(std::as_bytes(std::span(config_text)));

  // Leftovers of the old checkpoint could be mistaken for parts of the new one.
  const std::vector<std::string> names = writer.file_names();
  std::erase_if(old, [&](const std::string& name) {
    return name == kConfigName || std::find(names.begin(), names.end(), name) != names.end();
  });
  files.commit(old);
  return {total, tensors.size(), names.size() - 1};
}

}  // namespace v4rt
