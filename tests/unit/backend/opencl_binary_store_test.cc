#include <sys/wait.h>

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

// A child process dies while it tries an entry; another one, which is at it at the same time, lives.
TEST(OpenclBinaryStore, RemovesWhatEndedAProcess) {
  const TemporaryDirectory directory;
  const BinaryStore store(directory.path()), times(directory.path(), BinaryStore::kTimes);
  store.store("bad.cl\na device\nits driver\n", bytes("it crashes"));
  store.store("good", bytes("it does not"));
  times.store("bad.cl", bytes("of another store"));
  const pid_t child = fork();
  if (child == 0) {
    const BinaryStore::Trial trial(store.path("bad.cl\na device\nits driver\n"));
    _exit(directory.files().size() == 4 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(directory.files().size(), 4u) << "the mark outlives the process";
  {
    const BinaryStore::Trial trial(store.path("good"));
    EXPECT_TRUE(times.remove_fatal().empty());
    const std::vector<StoredEntry> removed = store.remove_fatal();
    ASSERT_EQ(removed.size(), 1u);
    EXPECT_EQ(removed[0].what, "bad.cl");
    EXPECT_EQ(removed[0].device, "a device");
    EXPECT_TRUE(store.remove_fatal().empty());
  }
  EXPECT_TRUE(store.load("good"));
  EXPECT_TRUE(times.load("bad.cl"));
  EXPECT_EQ(directory.files().size(), 2u) << "no marks";
}

TEST(OpenclBinaryStore, ListsWhatIsThere) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(stored_entries(directory.path() + "/none").empty());
  BinaryStore(directory.path()).store("linear.cl\nB\n1.2\nthe rest", bytes("a binary"));
  BinaryStore(directory.path(), BinaryStore::kTimes).store("linear\nA\n\n", bytes("times"));
  write_file(directory.path() + "/damaged.clbin", "short");
  write_file(directory.path() + "/0.clbin.1.0.tmp", "");
  write_file(directory.path() + "/README", "of another program");
  const std::vector<StoredEntry> entries = stored_entries(directory.path());
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].problem, "its writer was stopped");
  EXPECT_EQ(entries[1].problem, "it has no header");
  EXPECT_EQ(entries[1].bytes, 5u);
  EXPECT_EQ(entries[2].device, "A");
  EXPECT_EQ(entries[3].what, "linear.cl");
  EXPECT_EQ(entries[3].driver, "1.2");
  EXPECT_EQ(entries[3].problem, "");
  EXPECT_LT(std::abs(std::difftime(std::time(nullptr), entries[3].written)), 3600);
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
