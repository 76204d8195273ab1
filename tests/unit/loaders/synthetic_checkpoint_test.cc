#include "loaders/synthetic/synthetic_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/synthetic/v4_release.h"
#include "loaders/synthetic/weight_types.h"
#include "ops/core/error.h"
#include "tests/support/model_files.h"

namespace v4rt {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

// Every kind of layer, of small widths.
V4Config tiny_config() {
  V4Config config = read_v4_config(std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash/config.json");
  config.has_mtp = true;
  return config;
}

// Several shards for a model of a few megabytes.
SyntheticOptions small_shards(uint64_t seed = 0) {
  SyntheticOptions options;
  options.seed = seed;
  options.shard_bytes = 1'500'000;
  return options;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const std::string& name : files_in(folder)) out[name] = read_text_file(folder + "/" + name);
  return out;
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::pair<size_t, double> tensors_and_gib(V4Config config, bool mtp) {
  config.has_mtp = mtp;
  const std::vector<SyntheticTensor> tensors = synthetic_tensors(config);
  double bytes = 0;
  for (const SyntheticTensor& t : tensors) bytes += static_cast<double>(t.tensor.bytes());
  return {tensors.size(), std::round(bytes / (1 << 30) * 100) / 100};
}

TEST(SyntheticCheckpoint, HasAllTensorsOfTheRelease) {
  EXPECT_EQ(tensors_and_gib(v4_flash_config(), false), std::pair(size_t{67612}, 145.30));
  EXPECT_EQ(tensors_and_gib(v4_flash_config(), true), std::pair(size_t{69187}, 148.65));
  EXPECT_EQ(tensors_and_gib(v4_pro_config(), false), std::pair(size_t{142773}, 792.32));
  EXPECT_EQ(tensors_and_gib(v4_pro_config(), true), std::pair(size_t{145116}, 805.32));
}

TEST(SyntheticCheckpoint, ConfigIsReadAsItWasWritten) {
  for (const V4Config& config : {v4_flash_config(), v4_pro_config(), tiny_config()}) {
    const std::string text = official_config_json(config);
    V4Config read = parse_v4_config(text, "config.json");
    read.has_mtp = config.has_mtp;
    EXPECT_EQ(official_config_json(read), text);
  }
  const auto ours = nlohmann::json::parse(official_config_json(tiny_config()));
  EXPECT_EQ(ours,
            nlohmann::json::parse(read_text_file(std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash/config.json")));
}

TEST(SyntheticCheckpoint, OpensWithAllItsWeights) {
  const TempFolder folder;
  int64_t last = 0;
  SyntheticOptions options = small_shards();
  options.progress = [&](int64_t done, int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_LE(done, total);
    last = done;
  };
  const SyntheticSummary written = write_synthetic_checkpoint(tiny_config(), folder.path(), options);
  const Checkpoint checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint.container, "safetensors, 3 shards with index");
  EXPECT_EQ(checkpoint.naming, "official");
  EXPECT_TRUE(checkpoint.weights->config().has_mtp);
  EXPECT_FALSE(checkpoint.mtp_note);
  EXPECT_EQ(written.shards, 3u);
  EXPECT_EQ(written.tensors, 249u + 255u);  // as the files of tests/data/tiny-flash
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) bytes += static_cast<int64_t>(entry.file_size());
  EXPECT_EQ(written.bytes, bytes);
  for (const WeightInfo& info : v4_weights(checkpoint.weights->config())) {
    for (const float v : decode(checkpoint.weights->get(info.name))) ASSERT_TRUE(std::isfinite(v)) << info.name;
  }
}

TEST(SyntheticCheckpoint, TypesAreThoseOfTheRelease) {
  const TempFolder folder;
  write_synthetic_checkpoint(tiny_config(), folder.path(), small_shards());
  const auto types = [](const std::string& path) {
    std::map<std::string, std::pair<std::string, std::vector<int64_t>>> out;
    for (const RawTensor& t : read_raw(path)) out[t.name] = {t.dtype, t.shape};
    return out;
  };
  EXPECT_EQ(types(folder.path()), types(std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash"));
}

TEST(SyntheticCheckpoint, TypesAloneAreThoseOfTheFiles) {
  const TempFolder folder;
  write_synthetic_checkpoint(tiny_config(), folder.path(), small_shards());
  const auto files = open_checkpoint(folder.path()).weights, types = synthetic_types(tiny_config());
  for (const WeightInfo& info : v4_weights(tiny_config())) {
    EXPECT_EQ(types->type(info.name), files->type(info.name)) << info.name;
    EXPECT_EQ(types->activation_rounding(info.name), files->activation_rounding(info.name)) << info.name;
    EXPECT_THAT(types->get(info.name).parts, IsEmpty());
  }
  EXPECT_FALSE(types->has("no such weight"));
  EXPECT_THROW(types->type("no such weight"), Error);
}

TEST(SyntheticCheckpoint, MatricesKeepTheSizeOfTheirInputs) {
  const TempFolder folder;
  write_synthetic_checkpoint(tiny_config(), folder.path(), small_shards());
  const auto weights = open_checkpoint(folder.path()).weights;
  const auto deviation = [&](const std::string& name) {
    double sum = 0;
    const std::vector<float> values = decode(weights->get(name));
    for (const float v : values) sum += double{v} * v;
    return std::sqrt(sum / static_cast<double>(values.size()));
  };
  EXPECT_NEAR(deviation("embed.weight"), 1, 0.02);
  EXPECT_NEAR(deviation("head.weight"), std::sqrt(1.0 / 128), 0.002);
  EXPECT_NEAR(deviation("layers.0.ffn.experts.w1.weight"), std::sqrt(1.0 / 128), 0.002);
  EXPECT_NEAR(deviation("layers.2.attn.indexer.weights_proj.weight"), std::sqrt(1.0 / 128), 0.01);
  EXPECT_NEAR(deviation("layers.0.hc_attn_fn"), std::sqrt(1.0 / 512), 0.002);
  EXPECT_NEAR(deviation("norm.weight"), 1, 0.05);
}

// Numbers are read in place, so they must be aligned.
TEST(SyntheticCheckpoint, ValuesAreAligned) {
  const TempFolder folder;
  write_synthetic_checkpoint(tiny_config(), folder.path(), small_shards());
  const auto set = SafetensorsSet::open(folder.path());
  for (const StoredTensor& t : set->tensors()) {
    const auto at = static_cast<size_t>(t.bytes.data() - set->files()[t.file]->bytes().data());
    EXPECT_EQ(at % static_cast<size_t>(bits(t.type) / 8), 0u) << t.name;
  }
}

TEST(SyntheticCheckpoint, EqualSeedsGiveEqualFiles) {
  const TempFolder a, b, other;
  write_synthetic_checkpoint(tiny_config(), a.path(), small_shards(7));
  write_synthetic_checkpoint(tiny_config(), b.path(), small_shards(7));
  write_synthetic_checkpoint(tiny_config(), other.path(), small_shards(8));
  EXPECT_EQ(contents(a.path()), contents(b.path()));
  EXPECT_NE(contents(a.path()), contents(other.path()));

  // The values of a tensor do not depend on other tensors.
  V4Config shorter = tiny_config();
  shorter.num_layers = 3;
  shorter.compress_ratios = {0, 0, 4, 0};
  shorter.has_mtp = false;
  const TempFolder c;
  write_synthetic_checkpoint(shorter, c.path(), small_shards(7));
  EXPECT_THAT(differences(*open_checkpoint(c.path()).weights, *open_checkpoint(a.path()).weights), IsEmpty());
}

TEST(SyntheticCheckpoint, ReplacesACheckpointOnlyWhenAsked) {
  const TempFolder folder;
  folder.write("model.safetensors", "an older one");
  folder.write("notes.txt", "mine");
  EXPECT_THAT(message_of([&] { write_synthetic_checkpoint(tiny_config(), folder.path(), small_shards()); }),
              AllOf(HasSubstr(folder.path()), HasSubstr("model.safetensors"), HasSubstr("another folder")));
  EXPECT_THAT(files_in(folder.path()), ElementsAre("model.safetensors", "notes.txt"));

  SyntheticOptions options = small_shards();
  options.replace = true;
  write_synthetic_checkpoint(tiny_config(), folder.path(), options);
  options.shard_bytes *= 10;
  write_synthetic_checkpoint(tiny_config(), folder.path(), options);
  EXPECT_THAT(files_in(folder.path()), ElementsAre("config.json", "model-00001-of-00001.safetensors",
                                                   "model.safetensors.index.json", "notes.txt"));
  EXPECT_EQ(open_checkpoint(folder.path()).container, "safetensors, 1 shard with index");
}

TEST(SyntheticCheckpoint, LeavesNothingBehindWhenItFails) {
  const TempFolder folder;
  struct Stop {};
  SyntheticOptions options = small_shards();
  options.progress = [](int64_t done, int64_t) {
    if (done > 2'000'000) throw Stop();
  };
  const std::string made = folder.file("made");
  EXPECT_THROW(write_synthetic_checkpoint(tiny_config(), made, options), Stop);
  EXPECT_FALSE(fs::exists(made));
  folder.write("model.safetensors", "an older one");
  options.replace = true;
  EXPECT_THROW(write_synthetic_checkpoint(tiny_config(), folder.path(), options), Stop);
  EXPECT_THAT(files_in(folder.path()), ElementsAre("model.safetensors"));

  EXPECT_THROW(write_synthetic_checkpoint(tiny_config(), folder.file("none/of"), options), Stop);
  EXPECT_FALSE(fs::exists(folder.file("none")));
  EXPECT_THAT(message_of([&] { write_synthetic_checkpoint(tiny_config(), folder.file("model.safetensors"), options); }),
              HasSubstr("is not a folder"));
}

TEST(SyntheticCheckpoint, AsksForRoomBeforeItWrites) {
  const TempFolder folder;
  V4Config vast = tiny_config();  // some 40 TB
  vast.hidden_size = vast.moe_intermediate_size = 1 << 16;
  vast.num_layers = 1000;
  vast.compress_ratios.assign(1001, 0);
  SyntheticOptions options;
  options.progress = [](int64_t, int64_t) { FAIL() << "it writes"; };
  EXPECT_THAT(message_of([&] { write_synthetic_checkpoint(vast, folder.file("made"), options); }),
              AllOf(HasSubstr(folder.file("made")), HasSubstr("free"), HasSubstr("are missing")));
  EXPECT_FALSE(fs::exists(folder.file("made")));
}

}  // namespace
}  // namespace v4rt
