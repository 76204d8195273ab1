#include "loaders/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "loaders/checkpoint/v4_names.h"
#include "ops/core/error.h"
#include "tests/support/model_files.h"

namespace v4rt {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

const std::string kSource = V4RT_SOURCE_DIR;
const std::string kTinyFlash = kSource + "/tests/data/tiny-flash", kMini = kSource + "/examples/models/v4-mini";

// The file that the memory at `address` is mapped from; empty for memory of the process's own.
std::string mapped_from(const std::byte* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    const auto at = reinterpret_cast<uintptr_t>(address);
    if (begin <= at && at < end) return line.find('/') == std::string::npos ? "" : line.substr(line.find('/'));
  }
  return {};
}

TEST(Checkpoint, OpensTwoShardsWithAnIndex) {
  const Checkpoint checkpoint = open_checkpoint(kTinyFlash);
  EXPECT_EQ(checkpoint.container, "safetensors, 2 shards with index");
  EXPECT_EQ(checkpoint.naming, "official");
  EXPECT_EQ(checkpoint.folder, kTinyFlash);
  EXPECT_EQ(checkpoint.file_bytes, 2029138 + 1996772);
  EXPECT_FALSE(checkpoint.mtp_note);
  EXPECT_TRUE(checkpoint.weights->config().has_mtp);
  ASSERT_FALSE(checkpoint.tensors.empty());
  int64_t tensors = 0, bytes = 0;
  for (const TensorSummary& row : checkpoint.tensors) {
    tensors += row.tensors;
    bytes += row.bytes;
    EXPECT_LE(row.bytes, checkpoint.tensors.front().bytes);
  }
  EXPECT_EQ(tensors, 249 + 255);
  EXPECT_EQ(bytes, 3976806);
}

// Keys of config.json to change, and generation_config.json.
std::vector<int32_t> end_tokens_with(const nlohmann::json& patch, const std::string& generation) {
  const TempFolder folder;
  ModelFiles files = tiny_flash_files();
  files.config.merge_patch(patch);
  files.write(folder);
  if (!generation.empty()) folder.write("generation_config.json", generation);
  return open_checkpoint(folder.path()).weights->config().eos_token_ids;
}

TEST(Checkpoint, ATextEndsAtWhatEitherFileNames) {
  const nlohmann::json none = {{"eos_token_id", nullptr}}, two = {{"eos_token_id", {1, 7}}};
  EXPECT_THAT(end_tokens_with(two, ""), ElementsAre(1, 7));
  EXPECT_THAT(end_tokens_with(two, R"({"eos_token_id": [9, 7]})"), ElementsAre(1, 7, 9));
  EXPECT_THAT(end_tokens_with(none, R"({"eos_token_id": 9})"), ElementsAre(9));
  EXPECT_THAT(end_tokens_with(none, R"({"temperature": 1})"), ElementsAre(1));
  EXPECT_THAT(end_tokens_with(none, ""), ElementsAre(1));
  EXPECT_FALSE(open_checkpoint(kTinyFlash).generation);
  ASSERT_TRUE(open_checkpoint(kMini).generation);
  EXPECT_EQ(open_checkpoint(kMini).generation->temperature, 1);
}

TEST(Checkpoint, OpensASingleFile) {
  for (const std::string& path : {kMini, kMini + "/model.safetensors"}) {
    const Checkpoint checkpoint = open_checkpoint(path);
    EXPECT_EQ(checkpoint.container, "safetensors, 1 file");
    EXPECT_EQ(checkpoint.folder, kMini);
    EXPECT_TRUE(checkpoint.weights->config().has_mtp);
    EXPECT_EQ(checkpoint.weights->config().num_layers, 5);
  }
}

TEST(Checkpoint, EveryWeightOfTheModelIsThere) {
  for (const std::string& path : {kTinyFlash, kMini}) {
    const auto weights = open_checkpoint(path).weights;
    for (const WeightInfo& info : v4_weights(weights->config())) {
      ASSERT_TRUE(weights->has(info.name)) << info.name;
      const WeightView view = weights->get(info.name);
      EXPECT_EQ(view.type, weights->type(info.name)) << info.name;
      EXPECT_EQ(view.type.shape, info.shape) << info.name;
      size_t bytes = 0, scale_bytes = 0;
      for (const auto part : view.parts) bytes += part.size();
      for (const auto part : view.scale_parts) scale_bytes += part.size();
      EXPECT_EQ(bytes, view.type.bytes()) << info.name;
      EXPECT_EQ(scale_bytes, view.type.scale_bytes()) << info.name;
      EXPECT_TRUE(view.scale_parts.empty() || view.scale_parts.size() == view.parts.size()) << info.name;
    }
    EXPECT_FALSE(weights->has("layers.0.attn.wq_c.weight"));
    EXPECT_THROW(weights->get("layers.0.attn.wq_c.weight"), Error);
    EXPECT_THROW(weights->type("layers.0.attn.wq_c.weight"), Error);
  }
}

TEST(Checkpoint, TypesFollowTheFileAndTheRole) {
  const auto weights = open_checkpoint(kTinyFlash).weights;
  const auto type = [&](const char* name) { return to_string(weights->type(name)); };
  EXPECT_EQ(type("embed.weight"), "bf16 [512, 128]");
  EXPECT_EQ(type("layers.0.attn.wq_b.weight"), "fp8 [512, 128]");
  EXPECT_EQ(type("layers.0.attn.wo_a.weight"), "fp8 [128, 256]");
  EXPECT_EQ(type("layers.0.ffn.experts.w1.weight"), "fp4 [8, 128, 128]");
  EXPECT_EQ(type("layers.0.ffn.shared_experts.w13.weight"), "fp8 [256, 128]");
  EXPECT_EQ(type("layers.2.attn.compressor.wkv_gate.weight"), "bf16 [512, 128]");
  EXPECT_EQ(type("layers.3.attn.compressor.wkv_gate.weight"), "bf16 [256, 128]");
  EXPECT_EQ(type("layers.2.attn.indexer.compressor.wkv_gate.weight"), "bf16 [256, 128]");
  EXPECT_EQ(type("layers.2.attn.compressor.ape"), "f32 [4, 256]");
  EXPECT_EQ(type("layers.3.attn.compressor.ape"), "f32 [128, 128]");
  EXPECT_EQ(type("layers.0.ffn.gate.tid2eid"), "i32 [512, 2]");
  EXPECT_EQ(type("layers.2.ffn.gate.bias"), "f32 [8]");
  EXPECT_EQ(type("mtp.0.e_proj.weight"), "fp8 [128, 128]");
  EXPECT_EQ(type("mtp.0.hc_head_scale"), "f32 [1]");
}

TEST(Checkpoint, ServesTheBytesOfTheFile) {
  const auto weights = open_checkpoint(kTinyFlash).weights;
  EXPECT_THAT(mapped_from(weights->get("layers.0.attn.wq_a.weight").parts[0].data()),
              EndsWith("model-00001-of-00002.safetensors"));
  const WeightView experts = weights->get("layers.4.ffn.experts.w2.weight");
  ASSERT_EQ(experts.parts.size(), 8u);
  for (size_t e = 0; e < 8; ++e) {
    EXPECT_THAT(mapped_from(experts.parts[e].data()), EndsWith("model-00002-of-00002.safetensors"));
    EXPECT_THAT(mapped_from(experts.scale_parts[e].data()), EndsWith("model-00002-of-00002.safetensors"));
  }
  EXPECT_EQ(weights->get("layers.0.ffn.shared_experts.w13.weight").parts.size(), 2u);
  EXPECT_THAT(mapped_from(weights->get("layers.0.ffn.gate.tid2eid").parts[0].data()), Not(HasSubstr("safetensors")));
}

// Compares with the tensors of the file, decoded independently of the loader.
TEST(Checkpoint, ValuesAreThoseOfTheFile) {
  ModelFiles files = tiny_flash_files();
  const auto weights = open_checkpoint(kTinyFlash).weights;
  for (const WeightInfo& info : v4_weights(weights->config())) {
    std::vector<float> expected;
    for (const std::string& name : official_parts(info)) {
      const std::vector<float> part = expand(files.at(name), files.find(scale_name(name)));
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_EQ(decode(weights->get(info.name)), expected) << info.name;
  }
}

TEST(Checkpoint, StacksKeepTheirOrder) {
  ModelFiles files = tiny_flash_files();
  const auto weights = open_checkpoint(kTinyFlash).weights;
  const auto same = [&](std::span<const std::byte> part, const std::string& name) {
    const std::string& bytes = files.at(name).bytes;
    return part.size() == bytes.size() && std::memcmp(part.data(), bytes.data(), bytes.size()) == 0;
  };
  EXPECT_TRUE(same(weights->get("layers.1.ffn.experts.w3.weight").parts[5], "layers.1.ffn.experts.5.w3.weight"));
  EXPECT_TRUE(
      same(weights->get("layers.1.ffn.shared_experts.w13.weight").parts[0], "layers.1.ffn.shared_experts.w1.weight"));
  EXPECT_TRUE(
      same(weights->get("layers.1.ffn.shared_experts.w13.weight").parts[1], "layers.1.ffn.shared_experts.w3.weight"));
  EXPECT_TRUE(
      same(weights->get("layers.2.attn.compressor.wkv_gate.weight").parts[0], "layers.2.attn.compressor.wkv.weight"));
  EXPECT_TRUE(
      same(weights->get("layers.2.attn.compressor.wkv_gate.weight").parts[1], "layers.2.attn.compressor.wgate.weight"));
}

TEST(Checkpoint, ReleasedWeightsComeBack) {
  const auto weights = open_checkpoint(kMini).weights;
  for (const char* name : {"layers.0.ffn.experts.w1.weight", "layers.0.ffn.gate.tid2eid", "embed.weight"}) {
    const WeightView view = weights->get(name);
    const std::vector<float> before = decode(view);
    weights->release(view);
    EXPECT_EQ(decode(view), before) << name;
  }
}

TEST(Checkpoint, ViewsOutliveTheSource) {
  WeightView view, converted;
  {
    const auto weights = open_checkpoint(kMini).weights;
    view = weights->get("layers.0.attn.wq_a.weight");
    converted = weights->get("layers.0.ffn.gate.tid2eid");
  }
  EXPECT_EQ(decode(view).size(), 128u * 128u);
  EXPECT_EQ(decode(converted).size(), 2048u * 2u);
}

TEST(Checkpoint, ManyThreadsMayRead) {
  const auto weights = open_checkpoint(kTinyFlash).weights;
  std::vector<size_t> bytes(4);
  std::vector<std::thread> threads;
  for (size_t& sum : bytes) {
    threads.emplace_back([&] {
      for (const WeightInfo& info : v4_weights(weights->config())) sum += decode(weights->get(info.name)).size();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(bytes, ElementsAre(bytes[0], bytes[0], bytes[0], bytes[0]));
}

TEST(Checkpoint, AFileThatShrinksIsAnErrorNotACrash) {
  const TempFolder folder;
  const auto weights = open_checkpoint(tiny_flash_files().write(folder)).weights;
  std::filesystem::resize_file(folder.file("model.safetensors"), 4096);
  try {
    weights->get("head.weight");
    FAIL() << "a shrunken file was read";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("shrank"));
  }
}

TEST(V4Names, TranslatesAllSpellings) {
  const auto check_name = [](const char* name, const std::string& official, bool scale = false) {
    const auto found = translate(name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->official, official) << name;
    EXPECT_EQ(found->is_scale, scale) << name;
  };
  check_name("layers.12.ffn.experts.255.w2.scale", "layers.12.ffn.experts.255.w2.weight", true);
  check_name("model.layers.0.attn.norm.weight", "layers.0.attn.kv_norm.weight");
  check_name("model.layers.0.attn_hc.scale", "layers.0.hc_attn_scale");
  check_name("layers.3.self_attn.compressor.indexer.weights_proj.weight", "layers.3.attn.indexer.weights_proj.weight");
  check_name("model.layers.3.mlp.experts.gate_up_proj_scale_inv", "layers.3.ffn.experts.w13.weight", true);
  check_name("model.layers.3.mlp.experts.7.down_proj.weight_scale_inv", "layers.3.ffn.experts.7.w2.weight", true);
  check_name("lm_head.weight", "head.weight");
  check_name("head.weight_scale_inv", "head.weight", true);
  check_name("mtp.0.h_proj.scale", "mtp.0.h_proj.weight", true);
  for (const char* name :
       {"layers.01.attn.wq_a.weight", "layers..attn.wq_a.weight", "layers.x.attn.wq_a.weight", "layers.1", "",
        "attn.wq_a.weight", "layers.0.embed.weight", "layers.0.attn.attn_sink.scale", "layers.0.attn_norm.bias",
        "layers.0.ffn.experts.07.w1.weight", "layers.9999999.attn.wq_a.weight", "model.", "mtp."}) {
    EXPECT_FALSE(translate(name)) << name;
  }
  EXPECT_TRUE(translate("layers.0.attn.wq_a.scale")->spelled_officially);
  EXPECT_FALSE(translate("layers.0.attn.wq_a.weight_scale_inv")->spelled_officially);
  EXPECT_FALSE(translate("model.layers.0.attn.wq_a.weight")->spelled_officially);
}

}  // namespace
}  // namespace v4rt
