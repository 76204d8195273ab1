// A model with weights mapped from a cache gives the same bits as without.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "graph/runtime/model_impl.h"
#include "ops/core/human.h"
#include "tests/support/models.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

struct Opened {
  std::shared_ptr<const Model> model;
  std::set<std::string> work;  // what progress() reported
};

Opened open_cached(const std::string& path, const std::string& device, const std::string& cache, bool mtp = false) {
  Opened opened;
  ModelOptions options;
  options.device = device;
  options.context = 320;
  options.chunk = 16;
  options.mtp = mtp;
  options.weight_cache = cache;
  options.progress = [&](std::string_view what, double) { opened.work.emplace(what); };
  opened.model = Model::open(open_checkpoint(path).weights, options);
  return opened;
}

std::vector<uint32_t> bits(const std::shared_ptr<const Model>& model, int tokens = 40) {
  Session session(model);
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(static_cast<int64_t>(i * i * 7919 + 3) % model->config().vocab_size);
  }
  const Scores scores = score_all(session, ids);
  std::vector<float> all = scores.logits;
  all.insert(all.end(), scores.mtp.begin(), scores.mtp.end());
  for (int i = 0; i < 3; ++i) {  // one token at a time too
    const auto logits = session.feed(std::span(ids).subspan(static_cast<size_t>(i), 1));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  std::vector<uint32_t> out(all.size());
  std::memcpy(out.data(), all.data(), all.size() * sizeof(float));
  return out;
}

size_t copied(const Opened& opened) { return opened.model->impl().weights.copied_bytes(0); }

const std::string kWriting = "writing the weight cache", kLoading = "loading weights";

std::vector<fs::path> cache_files(const TempFolder& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    if (entry.path().extension() == ".weights") files.push_back(entry);
  }
  std::sort(files.begin(), files.end());
  return files;
}

class WeightCacheOn : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  const std::string device = std::get<0>(GetParam());
  const std::string path = std::get<1>(GetParam()) == "mini" ? mini_path() : tiny_flash_path();
  TempFolder folder;
};

TEST_P(WeightCacheOn, TheSameBitsWithoutWrittenAndMapped) {
  const std::vector<uint32_t> expected = bits(open_cached(path, device, "").model);
  const Opened first = open_cached(path, device, folder.path());
  EXPECT_TRUE(bits(first.model) == expected);
  const Opened second = open_cached(path, device, folder.path());
  EXPECT_TRUE(bits(second.model) == expected);
  EXPECT_EQ(copied(first), copied(second));
  EXPECT_EQ(second.work.count(kWriting), 0u);
  EXPECT_EQ(second.model->weight_bytes(), first.model->weight_bytes());
  if (device != "cpu") return;  // other devices may have nothing to cache, or be unable to
  EXPECT_EQ(first.work.count(kWriting), 1u);
  EXPECT_EQ(first.work.count(kLoading), 0u);
  EXPECT_EQ(copied(first), 0u);
  EXPECT_EQ(cache_files(folder).size(), 1u);
}

TEST_P(WeightCacheOn, TheMtpBlockComesToIt) {
  const std::vector<uint32_t> expected = bits(open_cached(path, device, "", true).model);
  open_cached(path, device, folder.path());
  EXPECT_TRUE(bits(open_cached(path, device, folder.path(), true).model) == expected);
  const Opened third = open_cached(path, device, folder.path(), true);
  EXPECT_TRUE(bits(third.model) == expected);
  EXPECT_EQ(third.work.count(kWriting), 0u);
  if (device == "cpu") {
    EXPECT_EQ(cache_files(folder).size(), 2u);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, WeightCacheOn,
                         testing::Combine(testing::ValuesIn(built_in_backends()),
                                          testing::Values("mini", "tiny_flash")),
                         [](const auto& info) { return std::get<0>(info.param) + "_" + std::get<1>(info.param); });

// A model that does not fit is refused before anything is loaded; from a cache it runs.
TEST(HostMemory, IsAskedBeforeAnythingIsLoaded) {
  const TempFolder folder;
  std::set<std::string> work;
  ModelOptions options;
  options.context = 64;
  options.chunk = 8;
  options.progress = [&](std::string_view what, double) { work.emplace(what); };
  const auto open = [&] { return Model::open(open_checkpoint(mini_path()).weights, options); };
  const auto refusal = [&]() -> std::string {
    try {
      open();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::kOutOfMemory);
      return e.what();
    }
    return "opened";
  };
  const auto free = open();
  const size_t weights = free->impl().weights.copied_bytes(0);
  const std::vector<uint32_t> expected = bits(free, 30);
  work.clear();
  options.memory = weights;
  EXPECT_THAT(refusal(), testing::HasSubstr(human_bytes(static_cast<double>(weights)) + " of weights"));
  EXPECT_THAT(refusal(), testing::HasSubstr("set ModelOptions::weight_cache to a folder"));
  EXPECT_EQ(work.count(kLoading), 0u);
  options.weight_cache = folder.path();
  EXPECT_TRUE(bits(open(), 30) == expected);
  options.memory = 4096;
  EXPECT_THAT(refusal(), testing::HasSubstr("shorter context"));
}

// Writing to a file that a model uses is reported with the next logits.
TEST(MappedWeights, AFileThatChangesIsAnError) {
  const TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors"}) fs::copy(mini_path() + "/" + name, folder.file(name));
  const std::string file = folder.file("model.safetensors");
  for (const FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
    Session session(Model::open(open_checkpoint(folder.path(), access).weights, {}));
    const std::vector<int32_t> ids{1, 2, 3};
    session.feed(ids);
    fs::last_write_time(file, fs::last_write_time(file) - std::chrono::seconds(5));
    if (access == FileAccess::kMap) {
      EXPECT_THROW(session.feed(ids), Error);
    } else {
      EXPECT_NO_THROW(session.feed(ids));
    }
  }
}

class CpuWeightCache : public testing::Test {
 protected:
  CpuWeightCache() {
    for (const char* name : {"config.json", "model.safetensors"}) fs::copy(mini_path() + "/" + name, model.file(name));
    expected = bits(open().model);
  }
  Opened open() const { return open_cached(model.path(), "cpu", cache.path()); }
  void damage(const std::function<void(const std::string&)>& change) const { change(cache_files(cache)[0].string()); }
  void expect_written_anew() const {
    const Opened anew = open();
    EXPECT_EQ(anew.work.count(kWriting), 1u);
    EXPECT_TRUE(bits(anew.model) == expected);
    const Opened mapped = open();
    EXPECT_EQ(mapped.work.count(kWriting), 0u);
    EXPECT_TRUE(bits(mapped.model) == expected);
    EXPECT_EQ(cache_files(cache).size(), 1u);
  }

  TempFolder model, cache;
  std::vector<uint32_t> expected;
};

TEST_F(CpuWeightCache, ADamagedFileIsWrittenAnew) {
  damage([](const std::string& file) { fs::resize_file(file, fs::file_size(file) / 2); });
  expect_written_anew();
  damage([](const std::string& file) { fs::resize_file(file, 0); });
  expect_written_anew();
  damage([](const std::string& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(100);
    stream.put('\x55');
  });
  expect_written_anew();
  damage([](const std::string& file) { std::ofstream(file, std::ios::binary) << std::string(1 << 20, 'x'); });
  expect_written_anew();
}

TEST_F(CpuWeightCache, DamagedWeightsAreWrittenAnew) {
  damage([](const std::string& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(-1, std::ios::end);
    stream.put(static_cast<char>(stream.peek() ^ 0x40));
  });
  expect_written_anew();
}

// Of another checkpoint with the same shapes, whose values alone differ.
TEST_F(CpuWeightCache, OtherValuesUnderTheSameNameSizeAndTimeAreKeptAnew) {
  const std::string file = model.file("model.safetensors");
  const auto time = fs::last_write_time(file);
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-2, std::ios::end);
  const char was = static_cast<char>(stream.get());
  stream.seekp(-2, std::ios::end);
  stream.put(static_cast<char>(was ^ 0x20));
  stream.close();
  fs::last_write_time(file, time);
  Session old_values(Model::open(open_checkpoint(mini_path()).weights, {}));
  expected = bits(open_cached(model.path(), "cpu", "").model);
  expect_written_anew();
  old_values.feed(std::vector<int32_t>{1, 2, 3});
  Session new_values(Model::open(open_checkpoint(model.path()).weights, {}));
  EXPECT_THROW(new_values.restore(old_values.snapshot()), Error);
}

TEST_F(CpuWeightCache, ACheckpointThatChangedIsKeptAnew) {
  const std::string file = model.file("model.safetensors");
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(1));
  expect_written_anew();
  // Another checkpoint's cache under this one's name.
  const TempFolder other_model, other_cache;
  fs::copy(tiny_flash_path(), other_model.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  open_cached(other_model.path(), "cpu", other_cache.path());
  damage([&](const std::string& mine) {
    fs::copy_file(cache_files(other_cache)[0], mine, fs::copy_options::overwrite_existing);
  });
  expect_written_anew();
}

// Several processes open the model at once, none of them finds a cache, and each reports its logits through its exit
// status.
TEST_F(CpuWeightCache, ProcessesThatStartAtOnce) {
  fs::remove(cache_files(cache)[0]);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(bits(open().model) == expected ? 0 : 1);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(cache_files(cache).size(), 1u);
  EXPECT_EQ(open().work.count(kWriting), 0u);
}

TEST_F(CpuWeightCache, AFolderThatIsNotThereIsMade) {
  EXPECT_EQ(open_cached(model.path(), "cpu", cache.file("a/b")).work.count(kWriting), 1u);
  EXPECT_EQ(open_cached(model.path(), "cpu", cache.file("a/b")).work.count(kWriting), 0u);
  EXPECT_THROW(open_cached(model.path(), "cpu", "/proc"), Error);
}

// A cache that another user made can be used from a folder that cannot be written.
TEST_F(CpuWeightCache, AFolderThatCannotBeWrittenServesWhatItHas) {
  fs::permissions(cache.path(), fs::perms::owner_read | fs::perms::owner_exec);
  const Opened opened = open();
  EXPECT_EQ(opened.work.count(kWriting), 0u);
  EXPECT_TRUE(bits(opened.model) == expected);
  fs::permissions(cache.path(), fs::perms::owner_all);
}

}  // namespace
}  // namespace v4rt
