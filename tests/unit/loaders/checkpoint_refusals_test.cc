#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "loaders/checkpoint/checkpoint.h"
#include "ops/core/error.h"
#include "tests/support/model_files.h"

namespace v4rt {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The message from opening the changed files. With `weight`, its values are checked too, for errors that show only
// there.
class Refusals : public testing::Test {
 protected:
  std::string opening(const ModelFiles& files) { return checking(files, ""); }
  std::string checking(const ModelFiles& files, const std::string& weight) {
    try {
      const auto weights = open_checkpoint(files.write(folder_)).weights;
      if (weight.empty()) return "no error";
      opened_ = true;
      weights->check_values(weight);
      weights->get(weight);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  ModelFiles files_ = tiny_flash_files();
  const TempFolder folder_;
  bool opened_ = false;
};

TEST_F(Refusals, MissingTensorsAreCountedAndNamed) {
  files_.drop(
      [](const std::string& name) { return name.find(".wo_a.") != std::string::npos && name.ends_with("weight"); });
  EXPECT_THAT(opening(files_),
              AllOf(HasSubstr(folder_.path()), HasSubstr("6 tensors missing"),
                    HasSubstr("layers.0.attn.wo_a.weight, layers.1.attn.wo_a.weight"), HasSubstr("...")));
  files_ = tiny_flash_files();
  files_.drop([](const std::string& name) { return name == "layers.2.ffn.experts.6.w2.weight"; });
  EXPECT_THAT(opening(files_), HasSubstr("1 tensor missing (layers.2.ffn.experts.6.w2.weight)"));
  files_ = tiny_flash_files();
  files_.at("embed.weight").name = "tok_embeddings.weight";
  EXPECT_THAT(opening(files_),
              AllOf(HasSubstr("(embed.weight)"), HasSubstr("of unknown name, such as 'tok_embeddings.weight'")));
  files_ = tiny_flash_files();
  files_.drop([](const std::string& name) { return name == "mtp.0.attn.wkv.weight"; });
  EXPECT_THAT(opening(files_), HasSubstr("(mtp.0.attn.wkv.weight)"));
}

TEST_F(Refusals, UnknownTensorsAreNamed) {
  const auto extra = [&](const std::string& name) {
    ModelFiles files = tiny_flash_files();
    files.tensors.push_back({name, "BF16", {1}, "xx"});
    return opening(files);
  };
  EXPECT_THAT(extra("layers.0.attn.wq_c.weight"),
              HasSubstr("1 tensor not part of the model that config.json describes (layers.0.attn.wq_c.weight)"));
  EXPECT_THAT(extra("layers.5.attn.wq_a.weight"), HasSubstr("(layers.5.attn.wq_a.weight)"));
  EXPECT_THAT(extra("layers.0.ffn.gate.bias"), HasSubstr("(layers.0.ffn.gate.bias)"));
  EXPECT_THAT(extra("layers.2.ffn.gate.tid2eid"), HasSubstr("(layers.2.ffn.gate.tid2eid)"));
  EXPECT_THAT(extra("layers.0.attn.compressor.ape"), HasSubstr("(layers.0.attn.compressor.ape)"));
  EXPECT_THAT(extra("layers.0.ffn.experts.8.w1.weight"), HasSubstr("(layers.0.ffn.experts.8.w1.weight)"));
  EXPECT_THAT(extra("layers.0.attn.wq_a.bias"), HasSubstr("(layers.0.attn.wq_a.bias)"));
  EXPECT_THAT(extra("layers.0.e_proj.weight"), HasSubstr("(layers.0.e_proj.weight)"));
  EXPECT_THAT(extra("layers.1.engram.table.weight"),
              AllOf(HasSubstr("(layers.1.engram.table.weight)"), HasSubstr("DeepSeek-V4.1")));
  EXPECT_THAT(extra("model.layers.0.self_attn.q_a_proj.weight"),
              AllOf(HasSubstr("layers.0.attn.wq_a.weight"), HasSubstr("model.layers.0.self_attn.q_a_proj.weight"),
                    HasSubstr("keep one")));
}

TEST_F(Refusals, ShapesMustFollowTheConfiguration) {
  files_.at("layers.2.attn.compressor.ape").shape = {256, 4};
  EXPECT_THAT(opening(files_),
              AllOf(HasSubstr("tensor 'layers.2.attn.compressor.ape': shape F32 [256, 4], expected [4, 256]")));
  files_ = tiny_flash_files();
  files_.at("layers.0.ffn.experts.3.w1.weight").shape = {64, 128};
  EXPECT_THAT(opening(files_), HasSubstr("'layers.0.ffn.experts.3.w1.weight': shape I8 [64, 128], expected [128, 64]"));
  files_ = tiny_flash_files();
  files_.config["moe_intermediate_size"] = 256;
  EXPECT_THAT(opening(files_), HasSubstr("expected [256, 64]"));
  files_ = tiny_flash_files();
  files_.at("hc_head_scale").shape = {};
  EXPECT_THAT(opening(files_), HasSubstr("'hc_head_scale': shape F32 [], expected [1]"));
}

TEST_F(Refusals, ScalesMustFitTheirWeights) {
  const std::string weight = "layers.0.attn.wq_b";
  files_.drop([&](const std::string& name) { return name == weight + ".scale"; });
  EXPECT_THAT(opening(files_), HasSubstr("'layers.0.attn.wq_b.weight': is F8_E4M3 but has no scale tensor"));

  files_ = tiny_flash_files();
  files_.at(weight + ".scale") = {weight + ".scale", "F8_E8M0", {16, 4}, std::string(64, 'x')};
  EXPECT_THAT(opening(files_),
              AllOf(HasSubstr("'layers.0.attn.wq_b.scale'"), HasSubstr("32 x 32"), HasSubstr("DeepSeek-V4.1")));
  files_.at(weight + ".scale") = {weight + ".scale", "F8_E8M0", {512, 4}, std::string(2048, 'x')};
  EXPECT_THAT(opening(files_),
              HasSubstr("'layers.0.attn.wq_b.scale': shape [512, 4], expected [4, 1]: one scale per 128 x 128"));
  files_.at(weight + ".scale") = {weight + ".scale", "F16", {4, 1}, std::string(8, 'x')};
  EXPECT_THAT(opening(files_), HasSubstr("'layers.0.attn.wq_b.scale': dtype F16; scales are"));

  files_ = tiny_flash_files();
  files_.tensors.push_back({"embed.scale", "F8_E8M0", {4, 1}, "xxxx"});
  EXPECT_THAT(opening(files_), HasSubstr("'embed.weight': is BF16 but has scales ('embed.scale')"));
  files_ = tiny_flash_files();
  files_.drop([&](const std::string& name) { return name == weight + ".weight"; });
  EXPECT_THAT(opening(files_), HasSubstr("(layers.0.attn.wq_b.weight)"));
}

TEST_F(Refusals, TypesThatCannotBeUsed) {
  const auto with_type = [&](const std::string& name, const char* dtype) {
    ModelFiles files = tiny_flash_files();
    files.at(name).dtype = dtype;
    return opening(files);
  };
  EXPECT_THAT(with_type("layers.0.attn.wq_a.weight", "F8_E5M2"),
              HasSubstr("'layers.0.attn.wq_a.weight': dtype F8_E5M2; expected F8_E4M3"));
  EXPECT_THAT(with_type("layers.0.attn_norm.weight", "I16"), HasSubstr("dtype I16; expected F32, BF16 or F16"));
  EXPECT_THAT(with_type("layers.0.ffn.gate.tid2eid", "F64"), HasSubstr("dtype F64; expected I64 or I32"));
}

TEST_F(Refusals, EmbeddingsInCodes) {
  RawTensor& embed = files_.at("embed.weight");
  for (const auto& [dtype, columns] : {std::pair("F8_E4M3", 128), std::pair("I8", 64)}) {
    embed.dtype = dtype;
    embed.shape.back() = columns;
    embed.bytes.resize(size_t{512} * static_cast<size_t>(columns));
    EXPECT_THAT(opening(files_), AllOf(HasSubstr("model.safetensors: tensor 'embed.weight': dtype " + embed.dtype),
                                       HasSubstr("expected F32, BF16 or F16"), HasSubstr("convert this one")));
  }
}

TEST_F(Refusals, NumbersThatAreNotFiniteAreFoundWhenChecked) {
  const auto with = [&](const std::string& tensor, const std::string& weight, size_t index, const std::string& number) {
    ModelFiles files = tiny_flash_files();
    files.at(tensor).bytes.replace(index * number.size(), number.size(), number);
    return checking(files, weight);
  };
  const auto f32 = [](float v) { return bytes_of(std::vector<float>{v}); };
  const std::string nan = f32(std::nanf("")), infinity = f32(HUGE_VALF), minus = f32(-HUGE_VALF);
  const auto expect_found = [&](const std::string& said, const std::string& tensor, const std::string& place) {
    EXPECT_THAT(said, HasSubstr("'" + tensor + "': " + place + " holds a NaN or an infinity"));
  };
  for (const std::string tensor : {"layers.2.ffn.gate.bias", "layers.0.attn.attn_sink", "hc_head_base"}) {
    for (const std::string& number : {nan, infinity, minus, f32(-std::nanf(""))})
      expect_found(with(tensor, tensor, 2, number), tensor, "row 0, column 2");
  }
  expect_found(with("layers.0.hc_attn_fn", "layers.0.hc_attn_fn", 512 * 24 - 1, nan), "layers.0.hc_attn_fn",
               "row 23, column 511");
  for (const std::string tensor :
       {"embed.weight", "head.weight", "layers.2.attn.indexer.weights_proj.weight", "layers.0.attn.q_norm.weight",
        "layers.0.attn.kv_norm.weight", "layers.2.attn.compressor.norm.weight"}) {
    for (const std::string& number : {nan.substr(2), infinity.substr(2), minus.substr(2)})
      expect_found(with(tensor, tensor, 3, number), tensor, "row 0, column 3");
  }
  expect_found(
      with("layers.2.attn.compressor.wgate.weight", "layers.2.attn.compressor.wkv_gate.weight", 130, nan.substr(2)),
      "layers.2.attn.compressor.wgate.weight", "row 1, column 2");
  EXPECT_EQ(with("layers.2.ffn.gate.bias", "layers.2.ffn.gate.bias", 2, f32(3e38f)), "no error");
  EXPECT_EQ(with("embed.weight", "embed.weight", 3, std::string("\x7f\x7f", 2)), "no error");

  ModelFiles files = tiny_flash_files();
  RawTensor& norm = files.at("norm.weight");
  norm.dtype = "F16";
  norm.bytes[2 * 100 + 1] = '\x7c';
  expect_found(checking(files, "norm.weight"), "norm.weight", "row 0, column 100");
}

TEST_F(Refusals, NansAndImpossibleScalesAreFoundWhenChecked) {
  files_.at("layers.0.attn.wq_a.weight").bytes[128 * 5 + 7] = '\xff';
  EXPECT_THAT(checking(files_, "layers.0.attn.wq_a.weight"),
              HasSubstr("'layers.0.attn.wq_a.weight': row 5, column 7 holds a NaN"));
  EXPECT_TRUE(opened_) << "opening reads headers only";
  files_ = tiny_flash_files();
  files_.at("layers.0.ffn.shared_experts.w3.weight").bytes.back() = '\x7f';
  EXPECT_THAT(checking(files_, "layers.0.ffn.shared_experts.w13.weight"),
              HasSubstr("shared_experts.w3.weight': row 127, column 127 holds"));
  files_ = tiny_flash_files();
  files_.at("layers.0.ffn.experts.7.w2.scale").bytes[4 * 127 + 3] = '\xff';
  EXPECT_THAT(checking(files_, "layers.0.ffn.experts.w2.weight"),
              HasSubstr("experts.7.w2.scale': row 127, column 3 holds the E8M0 NaN"));

  const auto with_scale = [&](float scale) {
    ModelFiles files = tiny_flash_files();
    RawTensor& t = files.at("layers.0.attn.wq_b.scale");
    t.dtype = "F32";
    t.bytes = bytes_of(std::vector<float>{1, 0.5f, scale, 0x1p-127f});
    return checking(files, "layers.0.attn.wq_b.weight");
  };
  EXPECT_EQ(with_scale(0x1p127f), "no error");
  for (float scale : {0.0f, -1.0f, 3.0f, 0x1p-128f, HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
    EXPECT_THAT(with_scale(scale), HasSubstr("'layers.0.attn.wq_b.scale': row 2, column 0 is")) << scale;
  }
}

TEST_F(Refusals, ExpertTablesNameTheRow) {
  const auto with_row = [&](std::vector<int64_t> ids, bool narrow) {
    ModelFiles files = tiny_flash_files();
    RawTensor& t = files.at("layers.1.ffn.gate.tid2eid");
    std::vector<int64_t> all(512 * 2);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i % 2);
    std::copy(ids.begin(), ids.end(), all.begin() + 2 * 300);
    t.dtype = narrow ? "I32" : "I64";
    t.bytes = narrow ? bytes_of(std::vector<int32_t>(all.begin(), all.end())) : bytes_of(all);
    return checking(files, "layers.1.ffn.gate.tid2eid");
  };
  for (bool narrow : {false, true}) {
    EXPECT_EQ(with_row({7, 0}, narrow), "no error");
    EXPECT_THAT(with_row({0, 8}, narrow),
                HasSubstr("'layers.1.ffn.gate.tid2eid': row 300 names expert 8; there are 8"));
    EXPECT_THAT(with_row({-1, 0}, narrow), HasSubstr("row 300 names expert -1"));
    EXPECT_THAT(with_row({3, 3}, narrow), HasSubstr("row 300 names expert 3 twice"));
  }
  EXPECT_THAT(with_row({int64_t{1} << 32, 0}, false), HasSubstr("row 300 names expert 4294967296"));
}

TEST_F(Refusals, FilesMustBeWhole) {
  files_.write(folder_);
  std::filesystem::remove(folder_.file("config.json"));
  EXPECT_THROW(open_checkpoint(folder_.path()), Error);
  folder_.write("config.json", "");
  EXPECT_THROW(open_checkpoint(folder_.path()), Error);
  EXPECT_THROW(open_checkpoint(folder_.file("absent")), Error);
  EXPECT_THROW(open_checkpoint(""), Error);
}

// Two experts of one stack in different types are converted only where that stays small; the file is sparse.
TEST_F(Refusals, LargeStacksAreNotConverted) {
  nlohmann::json config = files_.config;
  config.merge_patch({{"num_hidden_layers", 1},
                      {"num_hash_layers", 0},
                      {"compress_ratios", {0}},
                      {"hidden_size", 512},
                      {"moe_intermediate_size", 1024},
                      {"n_routed_experts", 160}});
  const V4Config c = parse_v4_config(config.dump(), "config.json");
  nlohmann::ordered_json header;
  size_t at = 0;
  for (const WeightInfo& info : v4_weights(c)) {
    for (const std::string& name : official_parts(info)) {
      std::vector<int64_t> shape(info.shape.dims().begin(), info.shape.dims().end());
      if (info.assembly == Assembly::kPair) shape[0] /= 2;
      if (info.assembly == Assembly::kExperts) shape.erase(shape.begin());
      const bool table = info.role == WeightRole::kTable, half = name.find("experts.9.w1") != std::string::npos;
      size_t bytes = table ? 8 : (half ? 2 : 4);
      for (int64_t d : shape) bytes *= static_cast<size_t>(d);
      header[name] = {
          {"dtype", table ? "I64" : (half ? "BF16" : "F32")}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
      at += bytes;
    }
  }
  folder_.write("config.json", config.dump());
  const std::string start = file_bytes(header.dump(), "");
  std::filesystem::resize_file(folder_.write("model.safetensors", start), start.size() + at);
  try {
    open_checkpoint(folder_.path());
    FAIL() << "a stack of mixed types was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::kUnsupported);
    EXPECT_THAT(e.what(), AllOf(HasSubstr("layers.0.ffn.experts.w1.weight"), HasSubstr("320 MiB"),
                                HasSubstr("store them alike")));
  }
}

}  // namespace
}  // namespace v4rt
