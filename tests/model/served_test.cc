// One checkpoint, served in every possible way, gives the same bits on every device.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "loaders/synthetic/synthetic_checkpoint.h"
#include "tests/support/model_files.h"
#include "tests/support/models.h"
#include "tests/support/transformers_names.h"

namespace v4rt {
namespace {

// The same weights as plain numbers in memory, without any trace of how a file stores them.
class Widened final : public WeightSource {
 public:
  explicit Widened(std::shared_ptr<const WeightSource> source) : source_(std::move(source)) {}
  const V4Config& config() const override { return source_->config(); }
  bool has(std::string_view name) const override { return source_->has(name); }
  TensorType type(std::string_view name) const override {
    const TensorType type = source_->type(name);
    return kept(type) ? type : TensorType{DType::kF32, type.shape};
  }
  ActivationRounding activation_rounding(std::string_view name) const override {
    return source_->activation_rounding(name);
  }
  WeightView get(std::string_view name) const override {
    WeightView view = source_->get(name);
    if (kept(view.type)) return view;
    const auto values = std::make_shared<const std::vector<float>>(decode(view));
    return {type(name), {std::as_bytes(std::span(*values))}, {}, values};
  }

 private:
  static bool kept(const TensorType& type) { return type.dtype == DType::kI32; }
  std::shared_ptr<const WeightSource> source_;
};

class Served : public testing::TestWithParam<std::string> {
 protected:
  using Bits = std::vector<uint32_t>;

  Bits bits(std::shared_ptr<const WeightSource> weights, const std::string& cache = "") {
    ModelOptions options;
    options.device = GetParam();
    options.find_device = [this](std::string_view) { return device_; };  // one that has its programs already
    options.context = 64;
    options.chunk = 16;
    options.weight_cache = cache;
    Session session(Model::open(std::move(weights), options));
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 24; ++i) ids.push_back((i * i * 79 + 3) % 512);
    const std::vector<float> logits = score_all(session, ids).logits;
    Bits out(logits.size());
    std::memcpy(out.data(), logits.data(), logits.size() * sizeof(float));
    return out;
  }
  Bits bits(const ModelFiles& files, size_t shift = 0) {
    const TempFolder folder;
    return bits(open_checkpoint(files.write(folder, shift)).weights);
  }

  const std::shared_ptr<Device> device_ = create_device(GetParam());
};

ModelFiles under_memory_names(ModelFiles files) {
  files.rename([](const std::string& name) {
    return is_scale_name(name)
               ? renamed(memory_name(renamed(name, {{".scale$", ".weight"}})), {{".weight$", ".weight_scale_inv"}})
               : memory_name(name);
  });
  fuse_experts(files, ".weight", "");
  fuse_experts(files, ".weight_scale_inv", "_scale_inv");
  files.config = transformers_config(files.config);
  return files;
}

TEST_P(Served, TheSameBitsInEveryWay) {
  V4Config odd = read_v4_config(tiny_flash_path() + "/config.json");
  odd.moe_intermediate_size = 96;  // half of a joined matrix ends within a scale block
  const TempFolder odd_folder, cache, odd_cache, shards;
  write_synthetic_checkpoint(odd, odd_folder.path(), {});
  for (const auto& [path, kept] :
       {std::pair(tiny_flash_path(), cache.path()), std::pair(odd_folder.path(), odd_cache.path())}) {
    const auto weights = open_checkpoint(path).weights;
    const Bits expected = bits(weights);
    EXPECT_TRUE(bits(std::make_shared<const Widened>(weights)) == expected) << path << ": widened";
    EXPECT_TRUE(bits(weights, kept) == expected) << path << ": repacked into a cache";
    EXPECT_TRUE(bits(open_checkpoint(path).weights, kept) == expected) << path << ": mapped from the cache";

    ModelFiles files = load_model_files(path);
    files.drop([](const std::string& name) { return name.starts_with("mtp."); });
    EXPECT_TRUE(bits(files) == expected) << path << ": one file";
    EXPECT_TRUE(bits(files, 1) == expected) << path << ": one file, nothing aligned";
    std::vector<RawTensor> values, scales;
    for (const RawTensor& t : files.tensors) (is_scale_name(t.name) ? scales : values).push_back(t);
    shards.write("config.json", files.config.dump());
    shards.write("model-00001-of-00002.safetensors", safetensors_bytes(values));
    shards.write("model-00002-of-00002.safetensors", safetensors_bytes(scales));
    EXPECT_TRUE(bits(open_checkpoint(shards.path()).weights) == expected) << path << ": shards";
    EXPECT_TRUE(bits(under_memory_names(files)) == expected) << path << ": names of transformers, experts joined";
  }
}

// Weights that need rounded activations cannot share a product with weights that do not.
TEST_P(Served, MixedStorageIsRefusedWhereItMatters) {
  ModelFiles files = made_up_files(tiny_flash_files().config, [](const std::string& name) {
    const bool wide = name == "embed.weight" || name.find("layers.1.ffn.shared_experts.w3") != std::string::npos;
    return wide ? "BF16" : "F8_E4M3";
  });
  const TempFolder folder;
  const auto weights = open_checkpoint(files.write(folder)).weights;
  EXPECT_NO_THROW(open_model(weights, {.device = GetParam(), .numbers = NumberMode::kPlain}));
  try {
    open_model(weights, {.device = GetParam()});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("layers.1.ffn.shared_experts.w13.weight"));
  }
}

// Whatever a device does with a weight, its values are checked first.
TEST_P(Served, NumbersThatAreNotFiniteAreRefused) {
  for (const std::string name : {"embed.weight", "head.weight", "norm.weight", "hc_head_fn", "layers.2.ffn.gate.bias",
                                 "layers.0.attn.attn_sink", "layers.2.attn.indexer.weights_proj.weight",
                                 "layers.2.attn.indexer.compressor.norm.weight", "layers.0.attn.q_norm.weight"}) {
    ModelFiles files = tiny_flash_files();
    RawTensor& tensor = files.at(name);
    const size_t width = tensor.dtype == "F32" ? 4 : 2;
    tensor.bytes.replace(width - 2, 2, "\xc0\x7f");  // the upper half of a NaN
    try {
      bits(files);
      FAIL() << name << ": accepted";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr("'" + name + "': row 0, column 0 holds a NaN"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Served, testing::ValuesIn(built_in_backends()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace v4rt
