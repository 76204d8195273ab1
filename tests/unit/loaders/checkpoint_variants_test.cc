#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "loaders/checkpoint/checkpoint.h"
#include "ops/core/error.h"
#include "tests/support/model_files.h"
#include "tests/support/transformers_names.h"

namespace v4rt {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kTinyFlash = std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash";

bool of_mtp(const std::string& name) { return name.starts_with("mtp."); }

// The same model under other names, types or containers must give the same numbers.
class Variants : public testing::Test {
 protected:
  Checkpoint expect_same(const std::string& path) {
    Checkpoint checkpoint = open_checkpoint(path);
    EXPECT_THAT(differences(*checkpoint.weights, *original_), IsEmpty());
    return checkpoint;
  }
  Checkpoint expect_same(const ModelFiles& files, size_t shift = 0) { return expect_same(files.write(folder_, shift)); }

  // As transformers saves in F32: no scales, no MTP block, its own config keys.
  ModelFiles expanded() const {
    ModelFiles files = tiny_flash_files();
    files.drop(of_mtp);
    expand_all(files);
    files.config = transformers_config(files.config);
    return files;
  }

  const TempFolder folder_;
  const std::shared_ptr<const WeightSource> original_ = open_checkpoint(kTinyFlash).weights;
};

TEST_F(Variants, SavedByTransformers) {
  ModelFiles files = expanded();
  files.rename(saved_name);
  const Checkpoint checkpoint = expect_same(files);
  EXPECT_EQ(checkpoint.naming, "transformers");
  EXPECT_FALSE(checkpoint.weights->config().has_mtp);
  EXPECT_FALSE(checkpoint.mtp_note);
  EXPECT_EQ(checkpoint.weights->type("layers.0.ffn.experts.w1.weight").dtype, DType::kF32);
}

// The names that the test makes are those in a file written by transformers, and that file gives the same weights.
TEST_F(Variants, SavedByTransformersForReal) {
  const std::string real = std::string(V4RT_SOURCE_DIR) + "/../shared/models/tiny-flash-transformers";
  if (!std::filesystem::exists(real)) GTEST_SKIP() << "the file is not at hand";
  EXPECT_EQ(expect_same(real).naming, "transformers");
  std::set<std::string> made, written;
  for (const RawTensor& t : expanded().tensors) made.insert(saved_name(t.name));
  for (const RawTensor& t : read_raw(real)) written.insert(t.name);
  EXPECT_EQ(made, written);
}

TEST_F(Variants, ParameterNamesInMemory) {
  ModelFiles files = expanded();
  files.rename(memory_name);
  fuse_experts(files, ".weight", "");
  ASSERT_EQ(files.find("model.layers.0.mlp.experts.0.gate_proj.weight"), nullptr);
  const Checkpoint checkpoint = expect_same(files);
  EXPECT_EQ(checkpoint.weights->get("layers.0.ffn.experts.w1.weight").parts.size(), 8u);
  EXPECT_EQ(checkpoint.weights->get("layers.0.ffn.experts.w2.weight").parts.size(), 1u);

  files.rename([](const std::string& name) { return name.starts_with("model.") ? name.substr(6) : name; });
  EXPECT_EQ(expect_same(files).naming, "transformers");
}

TEST_F(Variants, QuantisedParametersInMemory) {
  ModelFiles files = tiny_flash_files();
  files.drop(of_mtp);
  files.rename([](const std::string& name) {
    return is_scale_name(name)
               ? renamed(memory_name(renamed(name, {{".scale$", ".weight"}})), {{".weight$", ".weight_scale_inv"}})
               : memory_name(name);
  });
  fuse_experts(files, ".weight", "");
  fuse_experts(files, ".weight_scale_inv", "_scale_inv");
  const Checkpoint checkpoint = expect_same(files);
  EXPECT_EQ(to_string(checkpoint.weights->type("layers.0.ffn.experts.w3.weight")), "fp4 [8, 128, 128]");
}

TEST_F(Variants, HiddenFilesAreNoShards) {
  const ModelFiles files = tiny_flash_files();
  folder_.write("config.json", files.config.dump());
  folder_.write("model-00001-of-00001.safetensors", safetensors_bytes(files.tensors));
  folder_.write("._model-00001-of-00002.safetensors", "notes of another system");
  EXPECT_EQ(expect_same(folder_.path()).container, "safetensors, 1 shard without index");
  std::filesystem::rename(folder_.file("model-00001-of-00001.safetensors"), folder_.file("weights.safetensors"));
  folder_.write("._weights.safetensors", "notes of another system");
  EXPECT_EQ(expect_same(folder_.path()).container, "safetensors, 1 file");
}

TEST_F(Variants, ShardsWithoutIndexAndScalesApart) {
  ModelFiles files = tiny_flash_files();
  std::vector<RawTensor> values, scales;
  for (const RawTensor& t : files.tensors) (is_scale_name(t.name) ? scales : values).push_back(t);
  folder_.write("config.json", files.config.dump());
  folder_.write("model-00001-of-00002.safetensors", safetensors_bytes(values));
  folder_.write("model-00002-of-00002.safetensors", safetensors_bytes(scales));
  EXPECT_EQ(expect_same(folder_.path()).container, "safetensors, 2 shards without index");
}

TEST_F(Variants, ScalesOfOtherTypes) {
  for (const char* dtype : {"F32", "BF16", "U8"}) {
    ModelFiles files = tiny_flash_files();
    for (RawTensor& t : files.tensors) {
      if (!is_scale_name(t.name)) continue;
      std::vector<float> wide;
      std::vector<uint16_t> half;
      for (size_t i = 0; i < t.bytes.size(); ++i) {
        wide.push_back(em_e8m0(byte_at(t, i)));
        half.push_back(static_cast<uint16_t>(em_bits(wide.back()) >> 16));
      }
      t.dtype = dtype;
      if (t.dtype == "F32") t.bytes = bytes_of(wide);
      if (t.dtype == "BF16") t.bytes = bytes_of(half);
    }
    EXPECT_EQ(expect_same(files).naming, "official") << dtype;
  }
}

TEST_F(Variants, ScaleInverseNames) {
  ModelFiles files = tiny_flash_files();
  files.rename([](const std::string& name) { return renamed(name, {{".scale$", ".weight_scale_inv"}}); });
  EXPECT_TRUE(expect_same(files).weights->config().has_mtp);
}

TEST_F(Variants, PackedFp4OfOtherTypes) {
  for (const char* dtype : {"U8", "F4"}) {
    ModelFiles files = tiny_flash_files();
    for (RawTensor& t : files.tensors) {
      if (t.dtype != "I8") continue;
      t.dtype = dtype;
      if (t.dtype == "F4") t.shape.back() *= 2;
    }
    expect_same(files);
  }
}

TEST_F(Variants, AnyAlignment) {
  for (size_t shift = 1; shift < 4; ++shift) {
    ModelFiles files = tiny_flash_files();
    const Checkpoint checkpoint = expect_same(files, shift);
    for (const WeightInfo& info : v4_weights(checkpoint.weights->config())) {
      const WeightView view = checkpoint.weights->get(info.name);
      const size_t alignment =
          has_scale_plane(view.type.dtype) ? 1 : static_cast<size_t>(v4rt::info(view.type.dtype).block_bytes);
      for (const auto part : view.parts)
        EXPECT_EQ(reinterpret_cast<uintptr_t>(part.data()) % alignment, 0u) << info.name;
    }
  }
}

TEST_F(Variants, SmallTensorsInBf16AndTablesInI32) {
  ModelFiles files = expanded();
  files.rename(saved_name);
  const ModelFiles originals = files;
  for (RawTensor& t : files.tensors) {
    if (t.dtype == "I64") {
      std::vector<int32_t> ids;
      for (size_t i = 0; i < t.bytes.size() / 8; ++i) ids.push_back(static_cast<int32_t>(number_at<int64_t>(t, i)));
      t.dtype = "I32";
      t.bytes = bytes_of(ids);
    } else {
      std::vector<uint16_t> half;
      for (size_t i = 0; i < t.bytes.size() / 4; ++i)
        half.push_back(static_cast<uint16_t>(em_bits(em_bf16(number_at<float>(t, i))) >> 16));
      t.dtype = "BF16";
      t.bytes = bytes_of(half);
    }
  }
  const auto weights = open_checkpoint(files.write(folder_)).weights;
  EXPECT_EQ(weights->type("layers.0.hc_attn_fn").dtype, DType::kF32);
  EXPECT_EQ(weights->type("layers.0.attn.attn_sink").dtype, DType::kF32);
  EXPECT_EQ(weights->type("layers.0.attn_norm.weight").dtype, DType::kBF16);
  EXPECT_EQ(weights->type("layers.0.ffn.experts.w1.weight").dtype, DType::kBF16);
  EXPECT_EQ(decode(weights->get("layers.0.hc_attn_fn")), expand(files.at("model.layers.0.hc_attn_fn"), nullptr));
  EXPECT_EQ(decode(weights->get("layers.0.ffn.gate.tid2eid")), decode(original_->get("layers.0.ffn.gate.tid2eid")));
}

TEST_F(Variants, F16StaysInMatricesAndIsWidenedElsewhere) {
  ModelFiles files = expanded();
  for (RawTensor& t : files.tensors) {
    if (t.dtype == "I64") continue;
    t.dtype = "F16";
    std::string half;
    for (size_t i = 0; i < t.bytes.size() / 4; ++i)
      half += t.bytes.substr(4 * i, 1) + static_cast<char>(byte_at(t, 4 * i) & 0x3b);
    t.bytes = half;
  }
  const auto weights = open_checkpoint(files.write(folder_)).weights;
  for (const char* name : {"layers.0.attn.wq_a.weight", "layers.0.attn_norm.weight", "layers.0.attn.attn_sink",
                           "hc_head_scale", "embed.weight"}) {
    EXPECT_EQ(decode(weights->get(name)), expand(files.at(name), nullptr)) << name;
  }
  EXPECT_EQ(weights->type("layers.0.attn.wq_a.weight").dtype, DType::kF16);
  EXPECT_EQ(weights->type("layers.0.attn_norm.weight").dtype, DType::kF32);
  EXPECT_EQ(weights->type("hc_head_scale").dtype, DType::kF32);
  EXPECT_EQ(weights->type("embed.weight").dtype, DType::kF32);
}

nlohmann::json with(nlohmann::json config, const nlohmann::json& patch) {
  config.merge_patch(patch);
  return config;
}

std::vector<float> parts_expanded(ModelFiles& files, const WeightSource& weights, const std::string& name) {
  std::vector<float> all;
  for (const WeightInfo& info : v4_weights(weights.config())) {
    if (info.name != name) continue;
    for (const std::string& part : official_parts(info)) {
      const std::vector<float> values = expand(files.at(part), files.find(scale_name(part)));
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

std::string fp8_matrix(const std::string& name) { return name == "embed.weight" ? "BF16" : "F8_E4M3"; }

TEST_F(Variants, ExpertsInFp8) {
  ModelFiles files = made_up_files(tiny_flash_files().config, fp8_matrix);
  const auto weights = open_checkpoint(files.write(folder_)).weights;
  EXPECT_EQ(to_string(weights->type("layers.1.ffn.experts.w2.weight")), "fp8 [8, 128, 128]");
  for (const char* name : {"layers.1.ffn.experts.w2.weight", "layers.1.ffn.shared_experts.w13.weight", "head.weight"}) {
    EXPECT_EQ(decode(weights->get(name)), parts_expanded(files, *weights, name)) << name;
  }
}

// Experts of 96 rows: their FP8 scale blocks do not line up when two are put together.
TEST_F(Variants, ScaleBlocksThatDoNotLineUp) {
  const auto config = with(tiny_flash_files().config, {{"moe_intermediate_size", 96}});
  ModelFiles files = made_up_files(config, fp8_matrix);
  const auto weights = open_checkpoint(files.write(folder_)).weights;
  EXPECT_EQ(weights->type("layers.1.ffn.experts.w1.weight").dtype, DType::kFp8) << "each expert has its own blocks";
  EXPECT_EQ(weights->type("layers.1.ffn.shared_experts.w13.weight").dtype, DType::kF32);
  EXPECT_EQ(weights->activation_rounding("layers.1.ffn.shared_experts.w13.weight"), ActivationRounding::kFp8)
      << "as it is stored, not as it is served";
  EXPECT_EQ(weights->activation_rounding("embed.weight"), ActivationRounding::kNone);
  for (const char* name : {"layers.1.ffn.experts.w1.weight", "layers.1.ffn.shared_experts.w13.weight",
                           "layers.1.ffn.shared_experts.w2.weight"}) {
    EXPECT_EQ(decode(weights->get(name)), parts_expanded(files, *weights, name)) << name;
  }
}

// One FP8 tensor [E, 2I, d] with I = 192: the plane's second block row holds rows of both halves.
TEST_F(Variants, FusedExpertsThatShareAScaleBlock) {
  const auto config = with(tiny_flash_files().config, {{"moe_intermediate_size", 192}});
  ModelFiles files = made_up_files(
      config, [](const std::string& name) { return name.find(".experts.") == std::string::npos ? "BF16" : "F8_E4M3"; });
  files.drop([](const std::string& name) {
    return name.find(".experts.") != std::string::npos && name.find(".w2.") == std::string::npos;
  });
  std::mt19937 random(3);
  std::map<std::string, std::vector<float>> expected;
  for (int layer = 0; layer < 5; ++layer) {
    const std::string at = "layers." + std::to_string(layer);
    RawTensor values{at + ".mlp.experts.gate_up_proj", "F8_E4M3", {8, 384, 128}, ""};
    RawTensor scales{at + ".mlp.experts.gate_up_proj_scale_inv", "F8_E8M0", {8, 3, 1}, ""};
    for (int i = 0; i < 8 * 3; ++i) scales.bytes += static_cast<char>(100 + random() % 20);
    for (int i = 0; i < 8 * 384 * 128; ++i) {
      const auto code = static_cast<uint8_t>(random() % 0x7f);
      values.bytes += static_cast<char>(code);
      const int row = i / 128 % 384, block = i / 128 / 384 * 3 + row / 128;
      expected[at + (row < 192 ? ".ffn.experts.w1.weight" : ".ffn.experts.w3.weight")].push_back(
          em_e4m3(code) * em_e8m0(byte_at(scales, static_cast<size_t>(block))));
    }
    files.tensors.push_back(values);
    files.tensors.push_back(scales);
  }
  const auto weights = open_checkpoint(files.write(folder_)).weights;
  EXPECT_EQ(weights->type("layers.0.ffn.experts.w3.weight").dtype, DType::kF32);
  for (const auto& [name, values] : expected) EXPECT_EQ(decode(weights->get(name)), values) << name;
}

TEST_F(Variants, PartsOfDifferentTypesBecomeF32) {
  ModelFiles files = made_up_files(tiny_flash_files().config, [](const std::string& name) {
    return name.find("shared_experts.w3") != std::string::npos || name.find("experts.3.w1") != std::string::npos
               ? "BF16"
               : fp8_matrix(name);
  });
  const auto weights = open_checkpoint(files.write(folder_)).weights;
  for (const char* name : {"layers.1.ffn.shared_experts.w13.weight", "layers.1.ffn.experts.w1.weight"}) {
    EXPECT_EQ(weights->type(name).dtype, DType::kF32) << name;
    EXPECT_EQ(weights->activation_rounding(name), ActivationRounding::kMixed) << name;
    EXPECT_EQ(decode(weights->get(name)), parts_expanded(files, *weights, name)) << name;
  }
}

TEST_F(Variants, TablesThatCanBeComputedAreIgnored) {
  ModelFiles files = tiny_flash_files();
  files.tensors.push_back({"model.rotary_emb.inv_freq", "F32", {2}, std::string(8, 'x')});
  files.tensors.push_back({"layers.0.self_attn.rotary_emb.compress_inv_freq", "F32", {2}, std::string(8, 'x')});
  EXPECT_EQ(expect_same(files).naming, "official");
}

TEST_F(Variants, MtpBlocksThatCannotBeUsed) {
  ModelFiles files = tiny_flash_files();
  files.drop(of_mtp);
  EXPECT_FALSE(expect_same(files).mtp_note);

  files = tiny_flash_files();
  files.drop([](const std::string& name) { return name.starts_with("mtp.0.h_proj"); });
  Checkpoint checkpoint = expect_same(files);
  EXPECT_FALSE(checkpoint.weights->config().has_mtp);
  EXPECT_EQ(checkpoint.mtp_note, "mtp.0 without e_proj and h_proj: not the classic MTP block");

  for (const char* name : {"mtp.0.main_proj.weight", "mtp.1.attn.wq_a.weight", "model.mtp.2.e_proj.weight"}) {
    files = tiny_flash_files();
    files.tensors.insert(files.tensors.begin(), {"mtp.0.markov_head.weight", "U8", {1}, "x"});
    files.tensors.push_back({name, "BF16", {1}, "xx"});
    checkpoint = expect_same(files);
    EXPECT_FALSE(checkpoint.weights->config().has_mtp);
    ASSERT_TRUE(checkpoint.mtp_note);
    EXPECT_THAT(*checkpoint.mtp_note, AllOf(HasSubstr("later drafter"), HasSubstr(name)));
  }

  files = tiny_flash_files();
  files.tensors.push_back({"mtp.0.embed.weight", "BF16", {1}, "xx"});
  EXPECT_EQ(expect_same(files).mtp_note, "'mtp.0.embed.weight' is no tensor of the classic MTP block");
  files = tiny_flash_files();
  files.config["compress_ratios"][5] = 4;
  EXPECT_THAT(*expect_same(files).mtp_note, HasSubstr("compress ratio 4"));
}

}  // namespace
}  // namespace v4rt
