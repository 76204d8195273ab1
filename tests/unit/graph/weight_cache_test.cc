#include "graph/runtime/weight_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "graph/runtime/file_lock.h"
#include "graph/runtime/model.h"
#include "ops/core/error.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

const TensorType kType{.dtype = DType::kU8, .shape = {1000}};

class Cache : public testing::Test {
 protected:
  WeightCache open(const std::string& name = "model", uint64_t value = 1) const {
    return {folder.path(), WeightIdentity{name, {value, 0}}};
  }
  // Makes the weights `names`, each filled with its first letter; returns how many had to be written.
  static size_t complete(WeightCache& cache, const std::vector<std::string>& names) {
    size_t written = 0;
    std::vector<NewWeight> weights;
    const auto lacking = [&] {
      for (const std::string& name : names) {
        if (!cache.find(name, kType)) weights.push_back({name, kType});
      }
      return weights;
    };
    const auto fill = [&](WeightFileWriter& writer) {
      for (size_t i = 0; i < weights.size(); ++i, ++written) {
        writer.append_values(i, std::vector<std::byte>(1000, static_cast<std::byte>(weights[i].name[0])));
      }
    };
    cache.complete(lacking, fill, {});
    return written;
  }
  static char first(const WeightCache& cache, const std::string& name) {
    const auto found = cache.find(name, kType);
    return found ? static_cast<char>(found->planes.values[999]) : '-';
  }
  size_t files(std::string_view ending) const {
    size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      n += entry.path().string().ends_with(ending);
    }
    return n;
  }
  std::string file(int i) const { return folder.file(fmt::format("model.{}.weights", i)); }

  TempFolder folder;
};

TEST_F(Cache, IsWrittenOnceAndFoundAgain) {
  WeightCache cache = open();
  EXPECT_EQ(first(cache, "a"), '-');
  EXPECT_EQ(complete(cache, {"a", "b"}), 2u);
  EXPECT_EQ(first(cache, "a"), 'a');
  WeightCache again = open();
  EXPECT_EQ(first(again, "b"), 'b');
  EXPECT_EQ(complete(again, {"a", "b"}), 0u);
  EXPECT_EQ(files(".weights"), 1u);
}

TEST_F(Cache, WhatWasLackingLaterGetsAFileOfItsOwn) {
  WeightCache cache = open();
  complete(cache, {"a"});
  EXPECT_EQ(complete(cache, {"a", "b"}), 1u);
  EXPECT_EQ(files(".weights"), 2u);
  WeightCache again = open();
  EXPECT_EQ(first(again, "a"), 'a');
  EXPECT_EQ(first(again, "b"), 'b');
}

TEST_F(Cache, OtherWeightsOfTheSameNameTakeItsPlace) {
  WeightCache old = open("model", 1);
  complete(old, {"a"});
  WeightCache changed = open("model", 2);
  EXPECT_EQ(first(changed, "a"), '-');
  EXPECT_EQ(complete(changed, {"a"}), 1u);
  EXPECT_EQ(files(".weights"), 1u);
  EXPECT_EQ(first(open("model", 1), "a"), '-');
  EXPECT_EQ(first(open("model", 2), "a"), 'a');
  EXPECT_EQ(first(old, "a"), 'a');  // the mapped file stays
}

TEST_F(Cache, ADamagedFileIsWrittenAnewAndOthersStay) {
  WeightCache cache = open();
  complete(cache, {"a"});
  complete(cache, {"b"});
  std::filesystem::resize_file(file(0), 3000);
  WeightCache again = open();
  EXPECT_EQ(first(again, "a"), '-');
  EXPECT_EQ(first(again, "b"), 'b');
  EXPECT_EQ(complete(again, {"a", "b"}), 1u);
  EXPECT_EQ(files(".weights"), 2u);
  EXPECT_EQ(first(open(), "a"), 'a');
  std::fstream last(file(0), std::ios::in | std::ios::out | std::ios::binary);
  last.seekp(-1, std::ios::end);
  last.put('b');
  last.close();
  EXPECT_EQ(first(open(), "a"), '-');
  std::ofstream(file(0)) << "not at all";
  EXPECT_EQ(first(open(), "a"), '-');
  std::ofstream(file(0)) << "";
  EXPECT_EQ(first(open(), "a"), '-');
}

TEST_F(Cache, ManyFilesDoNotRunOut) {
  for (int i = 0; i < 20; ++i) {
    WeightCache cache = open();
    const std::string name(1, static_cast<char>('a' + i));
    EXPECT_EQ(complete(cache, {name}), 1u);
    EXPECT_EQ(first(cache, name), name[0]);
  }
  EXPECT_EQ(files(".weights"), 16u);
}

TEST_F(Cache, FailedWritesLeaveNothingAndUnfinishedOnesAreRemoved) {
  WeightCache cache = open();
  const auto lacking = [] { return std::vector<NewWeight>{{"a", kType}}; };
  const auto fill = [](WeightFileWriter&) { fail(Code::kCorrupt, "the checkpoint is broken"); };
  EXPECT_THROW(cache.complete(lacking, fill, {}), Error);
  EXPECT_EQ(files(".weights") + files(".part"), 0u);
  folder.write("model.3.weights.77.part", "left by a process that was ended");
  folder.write("model2.3.weights.77.part", "another model's");
  EXPECT_EQ(complete(cache, {"a"}), 1u);
  EXPECT_EQ(files(".part"), 1u);
}

TEST_F(Cache, ManyAtOnceWriteOnce) {
  std::atomic<size_t> written = 0, right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      WeightCache cache = open();
      written += complete(cache, {"a", "b"});
      right += first(cache, "a") == 'a' && first(cache, "b") == 'b';
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(written, 2u);
  EXPECT_EQ(right, 8u);
  EXPECT_EQ(files(".weights"), 1u);
}

TEST_F(Cache, WaitsForWhoeverWrites) {
  WeightCache cache = open();
  std::optional<FileLock> other(std::in_place, file(0) + ".lock", nullptr);
  EXPECT_TRUE(other->held());
  int waits = 0;
  const auto lacking = [] { return std::vector<NewWeight>{}; };
  const auto waiting = [&] {
    if (++waits == 2) other.reset();
  };
  cache.complete(lacking, nullptr, {.waiting = waiting, .checking = nullptr});
  EXPECT_EQ(waits, 2);
}

TEST_F(Cache, WaitingThatEndsInAnErrorLeavesNoFileOpen) {
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const FileLock held(folder.file("lock"), nullptr);
  const auto before = open_files();
  EXPECT_THROW(FileLock(folder.file("lock"), [] { throw Error(Code::kInternal, "enough"); }), Error);
  EXPECT_EQ(open_files(), before);
}

TEST_F(Cache, SaysWhatIsWrongWithItsFolder) {
  const WeightIdentity identity{"model", {1, 0}};
  const auto message = [&](const std::string& path) -> std::string {
    try {
      WeightCache cache(path, identity);
      complete(cache, {"a"});
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  const std::string file = folder.write("file", "x");
  EXPECT_THAT(message(file), HasSubstr("file: is not a folder; name another"));
  EXPECT_THAT(message(file + "/below"), HasSubstr("file/below: cannot be made: Not a directory; name another folder"));
  EXPECT_THAT(message("/proc/v4rt/kept"), HasSubstr("/proc/v4rt/kept: cannot be made: "));
  EXPECT_THAT(message("/proc"), HasSubstr("/proc/model.0.weights.lock: cannot be written"));
  EXPECT_THROW(WeightCache(folder.path(), std::nullopt), Error);
}

TEST_F(Cache, MakesItsFolderWithItsParents) {
  const std::string below = folder.file("a/b/c");
  WeightCache cache(below, WeightIdentity{"model", {1, 0}});
  EXPECT_EQ(complete(cache, {"a"}), 1u);
  EXPECT_TRUE(std::filesystem::exists(below + "/model.0.weights"));
}

TEST_F(Cache, WeightsOfNoFileCannotBeKept) {
  ModelOptions options = tiny_options();
  options.weight_cache = folder.path();
  try {
    Model::open(tiny_weights(), options);
    FAIL() << "opened";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("come from no file"));
  }
}

}  // namespace
}  // namespace v4rt
