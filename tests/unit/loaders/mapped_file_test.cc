#include "loaders/files/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "ops/core/error.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

std::string message_of(const std::string& path) {
  try {
    MappedFile::open(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

// Bytes of the mapping that are in memory, as the kernel counts them.
size_t resident_kib(const std::byte* address) {
  std::ifstream maps("/proc/self/smaps");
  std::ostringstream begin;
  begin << std::hex << reinterpret_cast<uintptr_t>(address) << '-';
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.starts_with(begin.str())) inside = true;
    if (inside && line.starts_with("Rss:")) return std::stoul(line.substr(4));
  }
  return 0;
}

TEST(MappedFile, ShowsTheBytesAndOutlivesTheName) {
  const TempFolder folder;
  const auto file = MappedFile::open(folder.write("a", "hello"));
  std::filesystem::remove(folder.file("a"));
  ASSERT_EQ(file->bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(file->bytes()[4]), 'o');
  EXPECT_TRUE(file->contains(file->bytes().subspan(1, 4)));
  const std::byte elsewhere{};
  EXPECT_FALSE(file->contains({&elsewhere, 1}));
}

TEST(MappedFile, SaysWhatIsWrong) {
  const TempFolder folder;
  EXPECT_THAT(message_of(folder.file("absent")), HasSubstr("absent: no such file"));
  EXPECT_THAT(message_of(folder.path()), HasSubstr("is a folder"));
  EXPECT_THAT(message_of(folder.write("empty", "")), HasSubstr("is empty (0 bytes)"));
  EXPECT_THAT(message_of(folder.write("file", "x") + "/below"), HasSubstr("no such file"));
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of(folder.file("pipe")), HasSubstr("not a plain file"));
}

TEST(MappedFile, UnreadableFile) {
  const TempFolder folder;
  const std::string path = folder.write("secret", "x");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  if (std::ifstream(path).good()) GTEST_SKIP() << "this user reads every file";
  EXPECT_THAT(message_of(path), HasSubstr("cannot be read: Permission denied"));
}

TEST(MappedFile, DontNeedDropsWholePagesAndTheyComeBack) {
  const TempFolder folder;
  const std::string text(1 << 20, 'x');
  const auto file = MappedFile::open(folder.write("big", text));
  const auto sum = [&] {
    size_t n = 0;
    for (std::byte b : file->bytes()) n += static_cast<size_t>(b == std::byte{'x'});
    return n;
  };
  EXPECT_EQ(sum(), text.size());
  const size_t before = resident_kib(file->bytes().data());
  ASSERT_GE(before, 1024u);
  file->advise(file->bytes().subspan(1, (1 << 20) - 2), MappedFile::Advice::kDontNeed);
  EXPECT_LE(resident_kib(file->bytes().data()), 128u);  // the two pages that the range only touches, plus read-ahead
  EXPECT_EQ(sum(), text.size());
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  file->advise(file->bytes().subspan(page - 1, page + 2), MappedFile::Advice::kDontNeed);
  EXPECT_EQ(resident_kib(file->bytes().data()), 1024u - page / 1024) << "only the page between is covered whole";
  file->advise(file->bytes(), MappedFile::Advice::kWillNeed);
}

TEST(MappedFile, NoticesThatTheFileShrank) {
  const TempFolder folder;
  const std::string path = folder.write("a", std::string(10000, 'x'));
  const auto file = MappedFile::open(path);
  EXPECT_NO_THROW(file->check_intact());
  std::filesystem::resize_file(path, 100);
  try {
    file->check_intact();
    FAIL() << "a shrunken file went unnoticed";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::kCorrupt);
    EXPECT_THAT(e.what(), HasSubstr("shrank from 10000 to 100 bytes"));
  }
}

TEST(MappedFile, NoticesThatTheFileWasWrittenTo) {
  const TempFolder folder;
  const std::string path = folder.write("a", "hello");
  const auto mapped = MappedFile::open(path), read = MappedFile::open(path, FileAccess::kRead);
  std::filesystem::rename(path, folder.file("b"));  // renamed, with another file in its place
  folder.write("a", "other");
  EXPECT_NO_THROW(mapped->check_intact());
  std::ofstream(folder.file("b"), std::ios::in | std::ios::out) << "j";
  const auto now = std::filesystem::last_write_time(folder.file("b"));
  std::filesystem::last_write_time(folder.file("b"), now + std::chrono::seconds(1));  // file system clocks are coarse
  try {
    mapped->check_intact();
    FAIL() << "a file that was written to went unnoticed";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("was written to while it was in use"));
  }
  EXPECT_NO_THROW(read->check_intact());
  EXPECT_EQ(static_cast<char>(read->bytes()[0]), 'h');
}

TEST(MappedFile, WhatWasReadStays) {
  const TempFolder folder;
  const std::string text(1 << 20, 'x'), path = folder.write("a", text);
  const auto file = MappedFile::open(path, FileAccess::kRead);
  std::filesystem::resize_file(path, 100);
  file->advise(file->bytes(), MappedFile::Advice::kDontNeed);
  const auto bytes = file->bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), text);
  EXPECT_TRUE(file->contains(bytes));
  EXPECT_FALSE(file->is_mapped());
}

}  // namespace
}  // namespace v4rt
