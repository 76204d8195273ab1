#include "graph/runtime/prefix_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/support/safetensors_writer.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

class PrefixCacheTest : public testing::Test {
 protected:
  static std::shared_ptr<const Model> open(NumberMode numbers = NumberMode::kFaithful) {
    ModelOptions options = tiny_options();
    options.context = 1024;
    options.chunk = 256;
    options.slots = 2;
    options.numbers = numbers;
    return Model::open(tiny_weights(), options);
  }
  PrefixCacheOptions in_folder(size_t bytes = size_t{1} << 30) const {
    return {.memory = size_t{1} << 20, .folder = folder_.path(), .folder_bytes = bytes};
  }
  void store(PrefixCache& cache, std::span<const int32_t> ids, std::string_view space = {}) {
    session_.reset();
    session_.feed(ids);
    cache.store(session_, 0, ids, space);
  }
  // How many tokens come from the cache; the rest is fed, and the state must be that of a fresh run.
  int64_t restored(PrefixCache& cache, std::span<const int32_t> ids, std::string_view space = {}) {
    session_.reset(1);
    const int64_t n = cache.restore(session_, 1, ids, space);
    EXPECT_EQ(session_.position(1), n);
    session_.feed(ids.subspan(static_cast<size_t>(n)), 1);
    session_.reset(0);
    session_.feed(ids, 0);
    EXPECT_TRUE(session_.snapshot(1).bytes == session_.snapshot(0).bytes) << n << " of " << ids.size();
    return n;
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> list;
    for (const auto& entry : fs::directory_iterator(folder_.path())) list.push_back(entry.path());
    return list;
  }

  TempFolder folder_;
  std::shared_ptr<const Model> model_ = open();
  Session session_{model_};
  const std::vector<int32_t> ids_ = tiny_ids(700);
  std::span<const int32_t> first(size_t n) const { return std::span(ids_).first(n); }
};

TEST_F(PrefixCacheTest, TheLongestBeginningIsFound) {
  PrefixCache cache({}, session_);
  EXPECT_EQ(restored(cache, first(300)), 0);
  store(cache, first(5));
  store(cache, first(256));
  store(cache, first(300));
  EXPECT_EQ(restored(cache, first(4)), 0);
  EXPECT_EQ(restored(cache, first(5)), 0);  // a token at least is to be fed
  EXPECT_EQ(restored(cache, first(6)), 5);
  EXPECT_EQ(restored(cache, first(290)), 256);
  EXPECT_EQ(restored(cache, first(700)), 300);
  std::vector<int32_t> other(first(400).begin(), first(400).end());
  other[270] ^= 1;
  EXPECT_EQ(restored(cache, other), 256);
  other[3] ^= 1;
  EXPECT_EQ(restored(cache, other), 0);
}

TEST_F(PrefixCacheTest, SpacesAreApart) {
  PrefixCache cache({}, session_);
  store(cache, first(200), "alice");
  EXPECT_EQ(restored(cache, first(300), "bob"), 0);
  EXPECT_EQ(restored(cache, first(300)), 0);
  EXPECT_EQ(restored(cache, first(300), "alice"), 200);
  store(cache, first(7), "alice");
  EXPECT_EQ(restored(cache, first(30), "bob"), 0);
}

TEST_F(PrefixCacheTest, SequencesShareWhatTheyHaveInCommon) {
  PrefixCache cache({}, session_);
  store(cache, first(600));
  const size_t one = cache.memory_bytes();
  std::vector<int32_t> other(ids_);
  other[590] ^= 1;
  store(cache, std::span(other).first(600));
  const size_t two = cache.memory_bytes() - one;
  EXPECT_LT(two, one / 2);  // a tail, not the 512 tokens before it
}

TEST_F(PrefixCacheTest, WhatWasUsedLastStays) {
  PrefixCache cache({.memory = size_t{1} << 30, .folder = {}}, session_);
  store(cache, first(500));
  PrefixCache small({.memory = cache.memory_bytes() * 3 / 2, .folder = {}}, session_);
  std::vector<int32_t> other(ids_);
  other[0] ^= 1;
  store(small, first(500));
  store(small, std::span(other).first(500));
  EXPECT_LE(small.memory_bytes(), cache.memory_bytes() * 3 / 2);
  EXPECT_EQ(restored(small, first(600)), 0);
  EXPECT_EQ(restored(small, std::span(other).first(600)), 500);
}

TEST_F(PrefixCacheTest, AFolderOutlivesTheProcess) {
  {
    PrefixCache cache(in_folder(), session_);
    store(cache, first(300));
  }
  PrefixCache cache(in_folder(), session_);
  EXPECT_GT(cache.folder_bytes(), 0u);
  EXPECT_EQ(restored(cache, first(600)), 300);
  const Session plain(open(NumberMode::kPlain));
  PrefixCache other_numbers(in_folder(), plain);
  EXPECT_EQ(other_numbers.restore(session_, 1, first(600)), 0);
}

TEST_F(PrefixCacheTest, AFolderShowsWhatOthersWrite) {
  PrefixCache here(in_folder(), session_), there(in_folder(), session_);
  store(here, first(300));
  EXPECT_EQ(restored(there, first(600)), 300);
}

TEST_F(PrefixCacheTest, AFolderKeepsToItsLimit) {
  PrefixCache cache(in_folder(40 << 10), session_);
  for (int32_t i = 0; i < 20; ++i) {
    std::vector<int32_t> ids(ids_.begin(), ids_.begin() + 140);
    ids[0] = i;
    store(cache, ids);
    uintmax_t bytes = 0;
    for (const fs::path& file : files()) bytes += fs::file_size(file);
    EXPECT_LE(bytes, 40u << 10);
    EXPECT_EQ(bytes, cache.folder_bytes());
  }
}

// Whatever single byte of a file is wrong, the part is not used, and neither is it after that.
TEST_F(PrefixCacheTest, DamageIsNeverRestored) {
  {
    PrefixCache cache(in_folder(), session_);
    store(cache, first(300));
  }
  for (const fs::path& file : files()) {
    const auto size = static_cast<std::streamoff>(fs::file_size(file));
    for (std::streamoff at = 0; at < size; at += std::clamp<std::streamoff>(size / 7, 1, 4096)) {
      fs::copy(folder_.path(), folder_.path() + ".copy");
      const fs::path damaged = fs::path(folder_.path() + ".copy") / file.filename();
      std::fstream stream(damaged, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(at);
      const auto byte = static_cast<char>(stream.get() ^ 4);
      stream.seekp(at);
      stream.put(byte);
      stream.close();
      PrefixCacheOptions options = in_folder();
      options.folder += ".copy";
      PrefixCache cache(options, session_);
      session_.reset(1);
      EXPECT_EQ(cache.restore(session_, 1, first(600)), 0) << file << " at " << at;
      EXPECT_FALSE(fs::exists(damaged));
      fs::remove_all(options.folder);
    }
  }
  for (const fs::path& file : files()) fs::resize_file(file, fs::file_size(file) / 2);
  PrefixCache cache(in_folder(), session_);
  EXPECT_EQ(restored(cache, first(600)), 0);
}

TEST_F(PrefixCacheTest, AFolderThatCannotBeWrittenToIsAWarning) {
  PrefixCache cache(in_folder(), session_);
  fs::remove_all(folder_.path());
  std::ofstream(folder_.path()) << "a file";
  store(cache, first(300));
  EXPECT_EQ(restored(cache, first(600)), 300);  // from memory
  fs::remove(folder_.path());
  fs::create_directory(folder_.path());
}

// A process that is killed while it writes leaves whole parts, or none.
TEST_F(PrefixCacheTest, AKilledProcessLeavesNothingWrong) {
  for (int round = 0; round < 12; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      Session session(model_);
      PrefixCache cache(in_folder(), session);
      for (int32_t i = 0;; ++i) {
        std::vector<int32_t> ids(ids_.begin(), ids_.begin() + 400);
        ids[static_cast<size_t>(i) % 300] ^= 1 + round % 7;
        session.reset();
        session.feed(ids);
        cache.store(session, 0, ids);
      }
    }
    ::usleep(static_cast<useconds_t>(3000 + 2500 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    PrefixCache cache(in_folder(), session_);
    std::vector<int32_t> ids(ids_.begin(), ids_.begin() + 420);
    ids[0] ^= 1 + round % 7;
    restored(cache, ids);  // whatever is found, the state is right
  }
}

}  // namespace
}  // namespace v4rt
