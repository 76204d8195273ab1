#include <fstream>

#include "backend/binary_store.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

std::vector<std::byte> bytes(std::string_view text) {
  const auto view = std::as_bytes(std::span<const char>(text.data(), text.size()));
  return {view.begin(), view.end()};
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

TEST(OpenclBinaryStore, ReturnsWhatWasStored) {
  const TemporaryDirectory directory;
  const BinaryStore store(directory.path() + "/made/on/demand");
  EXPECT_FALSE(store.load("key"));
  store.store("key", bytes("a binary"));
  store.store("other", bytes(""));
  EXPECT_EQ(store.load("key"), bytes("a binary"));
  EXPECT_EQ(store.load("other"), bytes(""));
  store.store("key", bytes("a newer one"));
  EXPECT_EQ(store.load("key"), bytes("a newer one"));
}

TEST(OpenclBinaryStore, KeepsNothingWithoutADirectory) {
  const BinaryStore store("");
  store.store("key", bytes("a binary"));
  EXPECT_FALSE(store.load("key"));
}

TEST(OpenclBinaryStore, LeavesNoTemporaryFiles) {
  const TemporaryDirectory directory;
  const BinaryStore store(directory.path());
  store.store("key", bytes("a binary"));
  ASSERT_EQ(directory.files().size(), 1u);
  EXPECT_EQ(directory.files()[0].string(), store.path("key"));
}

TEST(OpenclBinaryStore, AnUnwritableDirectoryIsNoError) {
  const TemporaryDirectory directory;
  write_file(directory.path() + "/file", "not a directory");
  const BinaryStore store(directory.path() + "/file");
  store.store("key", bytes("a binary"));
  EXPECT_FALSE(store.load("key"));
}

// Every damaged byte and every truncation is noticed: drivers abort on damaged binaries.
TEST(OpenclBinaryStore, RefusesDamagedEntries) {
  const TemporaryDirectory directory;
  const BinaryStore store(directory.path());
  store.store("key", bytes("a binary of some length"));
  const std::string whole = read_file(store.path("key"));
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    write_file(store.path("key"), damaged);
    EXPECT_FALSE(store.load("key")) << "byte " << i;
    write_file(store.path("key"), whole.substr(0, i));
    EXPECT_FALSE(store.load("key")) << i << " bytes";
  }
  write_file(store.path("key"), whole + "x");
  EXPECT_FALSE(store.load("key"));
  write_file(store.path("key"), whole);
  EXPECT_TRUE(store.load("key"));
}

TEST(OpenclBinaryStore, RefusesTheEntryOfAnotherKey) {
  const TemporaryDirectory directory;
  const BinaryStore store(directory.path());
  store.store("key", bytes("a binary"));
  std::filesystem::rename(store.path("key"), store.path("another"));
  EXPECT_FALSE(store.load("another"));
}

}  // namespace
}  // namespace v4rt
