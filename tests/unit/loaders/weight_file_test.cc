#include "loaders/weight_file/weight_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/weight_file/weight_file_format.h"
#include "ops/core/error.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::HasSubstr;
using weight_file::Entry;
using weight_file::Header;

constexpr Hash kKey{1, 2};

const std::vector<NewWeight>& weights() {
  static const std::vector<NewWeight> kAll{
      {"small", {.dtype = DType::kF32, .shape = {3, 5}, .layout = Layout::kRows}},
      {"matrix", {.dtype = DType::kFp4, .shape = {4, 32, 64}, .layout = Layout::kRows16}},
      {"matrix", {.dtype = DType::kFp4, .shape = {4, 32, 64}, .layout = Layout::kRows}},
      {"large", {.dtype = DType::kBF16, .shape = {4096, 1024}, .layout = Layout::kRows16}}};
  return kAll;
}

std::vector<std::byte> content(size_t bytes, size_t seed) {
  std::vector<std::byte> out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(i * 31 + (i >> 8) + seed);
  return out;
}

// In pieces, the last weight first.
void write_all(WeightFileWriter& writer) {
  for (size_t i = weights().size(); i-- > 0;) {
    const auto values = content(weights()[i].type.bytes(), i),
               scales = content(weights()[i].type.scale_bytes(), i + 50);
    const size_t third = values.size() / 3;
    writer.append_values(i, std::span(values).first(third));
    writer.append_scales(i, scales);
    writer.append_values(i, std::span(values).subspan(third));
  }
}

class WeightFiles : public testing::Test {
 protected:
  void make() {
    WeightFileWriter writer(path, kKey, weights());
    writer.begin();
    write_all(writer);
    writer.commit(nullptr);
  }
  size_t files() const {
    const std::filesystem::directory_iterator all(folder.path());
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  // What open() says after `change` of the file's bytes; a matching checksum is put in unless it is what changes.
  std::string refusal(const std::function<void(std::string&)>& change, bool keep_checksum = false) {
    std::string bytes = original;
    change(bytes);
    if (!keep_checksum && bytes.size() >= sizeof(Header)) {
      auto header = read<Header>(bytes, 0);
      const size_t size = std::min<size_t>(header.header_bytes, bytes.size());
      if (size >= sizeof(Header)) header.checksum = weight_file::checksum(std::as_bytes(std::span(bytes)).first(size));
      put(bytes, 0, header);
    }
    folder.write("weights", bytes);
    try {
      WeightFile::open(path, kKey);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
  template <class T>
  static T read(const std::string& bytes, size_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
  }
  template <class T>
  static void put(std::string& bytes, size_t at, const T& value) {
    std::memcpy(bytes.data() + at, &value, sizeof(T));
  }
  static std::function<void(std::string&)> header(const std::function<void(Header&)>& change) {
    return [=](std::string& bytes) {
      auto value = read<Header>(bytes, 0);
      change(value);
      put(bytes, 0, value);
    };
  }
  static std::function<void(std::string&)> entry(const std::function<void(Entry&)>& change) {  // of the first weight
    return [=](std::string& bytes) {
      auto value = read<Entry>(bytes, sizeof(Header));
      change(value);
      put(bytes, sizeof(Header), value);
    };
  }
  void load() {
    make();
    std::ifstream file(path, std::ios::binary);
    original.assign(std::istreambuf_iterator<char>(file), {});
  }

  TempFolder folder;
  const std::string path = folder.file("weights");
  std::string original;
};

TEST_F(WeightFiles, GivesBackWhatWasWritten) {
  make();
  EXPECT_EQ(files(), 1u);
  const auto file = WeightFile::open(path, kKey);
  EXPECT_EQ(file->weights(), 4u);
  EXPECT_EQ(file->bytes(), std::filesystem::file_size(path));
  for (size_t i = 0; i < weights().size(); ++i) {
    const auto planes = file->find(weights()[i].name, weights()[i].type);
    ASSERT_TRUE(planes) << i;
    const auto values = content(weights()[i].type.bytes(), i),
               scales = content(weights()[i].type.scale_bytes(), i + 50);
    EXPECT_TRUE(std::equal(planes->values.begin(), planes->values.end(), values.begin(), values.end())) << i;
    EXPECT_TRUE(std::equal(planes->scales.begin(), planes->scales.end(), scales.begin(), scales.end())) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(planes->values.data()) % 4096, 0u);
  }
  EXPECT_FALSE(file->find("absent", weights()[0].type));
  EXPECT_FALSE(file->find("small", {.dtype = DType::kF32, .shape = {5, 3}}));
  EXPECT_FALSE(file->find("large", {.dtype = DType::kBF16, .shape = {4096, 1024}}));
}

TEST_F(WeightFiles, NothingIsThereBeforeCommit) {
  {
    WeightFileWriter writer(path, kKey, weights());
    EXPECT_EQ(files(), 0u);
    writer.begin();
    write_all(writer);
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_EQ(files(), 1u);
    EXPECT_THROW(writer.append_values(0, content(1, 0)), Error);
    EXPECT_THROW(writer.append_scales(0, content(1, 0)), Error);
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(WeightFiles, SaysWhereItCannotWrite) {
  WeightFileWriter nowhere(folder.file("absent/weights"), kKey, weights());
  EXPECT_THROW(nowhere.begin(), Error);
  const int64_t huge = int64_t{1} << 38;
  WeightFileWriter large(path, kKey, {{"w", {.dtype = DType::kF32, .shape = {huge}}}});
  try {
    large.begin();
    FAIL() << "a disk with room for 1 TiB";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("these weights take 1.00 TiB, its disk has"));
    EXPECT_THAT(e.what(), HasSubstr(folder.path()));
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(WeightFiles, RefusesWhatIsNotWhatItShouldBe) {
  load();
  EXPECT_EQ(refusal([](std::string&) {}), "no error");
  EXPECT_THAT(refusal([](std::string& b) { b.resize(20); }), HasSubstr("too short"));
  EXPECT_THAT(refusal([](std::string& b) { b[0] = 'x'; }), HasSubstr("is no file of weights"));
  EXPECT_THAT(refusal(header([](Header& h) { ++h.version; })), HasSubstr("has version 4 of the format, not 3"));
  EXPECT_THAT(refusal(header([](Header& h) { h.key[1] = 3; })), HasSubstr("another checkpoint"));
  EXPECT_THAT(refusal([](std::string& b) { b.pop_back(); }), HasSubstr("should have"));
  EXPECT_THAT(refusal([](std::string& b) { b += 'x'; }), HasSubstr("should have"));
  EXPECT_THAT(refusal(header([](Header& h) { h.header_bytes = 55; })), HasSubstr("a length that cannot be"));
  EXPECT_THAT(refusal(header([](Header& h) { h.header_bytes = uint64_t{1} << 62; })),
              HasSubstr("a length that cannot"));
  EXPECT_THAT(refusal([](std::string& b) { b[sizeof(Header) + 9] ^= 1; }, true), HasSubstr("checksum"));
  EXPECT_THAT(refusal(header([](Header& h) { ++h.checksum[1]; }), true), HasSubstr("checksum"));
  EXPECT_THAT(refusal(header([](Header& h) { ++h.weights; })), HasSubstr("ends too soon"));
  EXPECT_THAT(refusal(header([](Header& h) { h.weights = ~0u; })), HasSubstr("ends too soon"));
  EXPECT_THAT(refusal(header([](Header& h) { --h.weights; })), HasSubstr("too long"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.name_bytes = ~0u; })), HasSubstr("ends too soon"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.dtype = 99; })), HasSubstr("unknown type"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.layout = 99; })), HasSubstr("unknown type"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.rank = 5; })), HasSubstr("unknown type"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.shape[0] = -1; })), HasSubstr("shape that cannot be"));
  EXPECT_NE(refusal(entry([](Entry& e) { e.shape[0] = e.shape[1] = int64_t{1} << 62; })), "no error");
  EXPECT_THAT(refusal(entry([](Entry& e) { e.shape[0] = int64_t{1} << 38; })), HasSubstr("inside the file"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.values += 4; })), HasSubstr("inside the file"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.values = ~uint64_t{4095}; })), HasSubstr("inside the file"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.values = 0; })), HasSubstr("overlap"));
  EXPECT_THAT(refusal(entry([](Entry& e) { e.values += 4096; })), HasSubstr("overlap"));
}

// The message of `check` for the file with one bit of byte `at` changed.
std::string complaint(const std::string& path, uint64_t at, const std::function<void(const WeightFile&)>& check) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto flip = [&] {
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 4)).flush();
  };
  flip();
  std::string message = "no error";
  try {
    check(*WeightFile::open(path, kKey));
  } catch (const Error& e) {
    message = e.what();
  }
  flip();
  return message;
}

TEST_F(WeightFiles, AnyByteOfAPlaneMatters) {
  load();
  const auto file = WeightFile::open(path, std::nullopt);
  double done = 0;
  file->check_all([&](double share) { done = share; });
  EXPECT_EQ(done, 1);
  file->check_some();
  for (size_t i = 0; i < weights().size(); ++i) {
    const auto planes = *file->find(weights()[i].name, weights()[i].type);
    for (const auto plane : {planes.values, planes.scales}) {
      if (plane.empty()) continue;
      const auto where = static_cast<uint64_t>(std::search(original.begin(), original.end(),
                                                           reinterpret_cast<const char*>(plane.data()),
                                                           reinterpret_cast<const char*>(plane.data()) + plane.size()) -
                                               original.begin());
      for (const uint64_t at : {where, where + plane.size() / 2, where + plane.size() - 1}) {
        const std::string message = complaint(path, at, [](const WeightFile& f) { f.check_all(nullptr); });
        EXPECT_THAT(message, HasSubstr(weights()[i].name + " does not match its checksum in bytes ["));
      }
    }
  }
  EXPECT_THAT(complaint(path, original.size() - 1, [](const WeightFile& f) { f.check_some(); }),
              HasSubstr("large does not match"));
}

TEST_F(WeightFiles, WhatWasNotWrittenIsNotCommitted) {
  WeightFileWriter writer(path, kKey, weights());
  writer.begin();
  writer.append_values(0, content(60, 0));
  EXPECT_THROW(writer.commit(nullptr), Error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(WeightFiles, AnyByteOfTheHeaderMatters) {
  load();
  const size_t header_bytes = read<Header>(original, 0).header_bytes;
  for (size_t i = 0; i < header_bytes; ++i) {
    EXPECT_NE(refusal([&](std::string& b) { b[i] = static_cast<char>(b[i] ^ 0x10); }, true), "no error") << i;
  }
}

// A copy of the small checkpoint, to be changed.
class Identity : public testing::Test {
 protected:
  Identity() {
    std::filesystem::copy(std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash", folder.path(),
                          std::filesystem::copy_options::recursive);
  }
  WeightIdentity get() const { return *open_checkpoint(folder.path()).weights->identity(); }
  TempFolder folder;
  const std::string shard = folder.file("model-00002-of-00002.safetensors");
};

TEST_F(Identity, ChangesWithFilesAndConfiguration) {
  const WeightIdentity first = get();
  EXPECT_EQ(first.value, get().value);
  EXPECT_THAT(first.name, HasSubstr(std::filesystem::path(folder.path()).filename().string() + "-"));

  std::filesystem::last_write_time(shard, std::filesystem::last_write_time(shard) + std::chrono::nanoseconds(1000));
  const WeightIdentity touched = get();
  EXPECT_NE(touched.value, first.value);
  EXPECT_EQ(touched.name, first.name);

  // The same header with another byte in its padding.
  const auto time = std::filesystem::last_write_time(shard);
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), 8);
  file.seekg(static_cast<std::streamoff>(8 + length - 1));
  ASSERT_EQ(file.get(), ' ');
  file.seekp(static_cast<std::streamoff>(8 + length - 1));
  file.put('\n');
  file.close();
  std::filesystem::last_write_time(shard, time);
  EXPECT_NE(get().value, touched.value);
}

// Same path, size, header and time of modification; other values.
TEST_F(Identity, ChangesWithValuesWhoseTimesAreSetBack) {
  const WeightIdentity first = get();
  const auto time = std::filesystem::last_write_time(shard);
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-3, std::ios::end);
  file.put('\x21');
  file.close();
  std::filesystem::last_write_time(shard, time);
  EXPECT_NE(get().value, first.value);
}

// Snapshots depend on the numbers, not on where the files are.
TEST_F(Identity, ContentIsThatOfACopy) {
  const Hash content = get().content;
  const auto copied = [&](std::string_view change_at_end) {
    const TempFolder other;
    std::filesystem::copy(folder.path(), other.path(),
                          std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
    std::fstream file(other.file("model-00002-of-00002.safetensors"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-static_cast<std::streamoff>(change_at_end.size()), std::ios::end);
    file << change_at_end;
    file.close();
    return open_checkpoint(other.path()).weights->identity()->content;
  };
  EXPECT_EQ(copied(""), content);
  EXPECT_NE(copied("\x21\x21\x21"), content);
}

TEST_F(Identity, IsOfThePlaceToo) {
  const TempFolder other;
  std::filesystem::copy(folder.path(), other.path(),
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  const WeightIdentity copy = *open_checkpoint(other.path()).weights->identity();
  EXPECT_NE(copy.name, get().name);
  EXPECT_NE(copy.value, get().value);
  const std::string slash = folder.path() + "/";
  EXPECT_EQ(open_checkpoint(slash).weights->identity()->name, get().name);
}

}  // namespace
}  // namespace v4rt
