#include "loaders/files/file_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "ops/core/error.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(FileSource, AFolder) {
  const TempFolder folder;
  folder.write("b", "two");
  folder.write("a", "one");
  const auto source = folder_source(folder.path(), FileAccess::kMap);
  EXPECT_THAT(source->names(), ElementsAre("a", "b"));
  EXPECT_TRUE(source->has("a"));
  EXPECT_FALSE(source->has("c"));
  EXPECT_EQ(text(*source->open("b")), "two");
  EXPECT_EQ(source->path("a"), folder.file("a"));
  EXPECT_THROW(source->open("c"), Error);
  EXPECT_THROW(folder_source("/no/such/folder", FileAccess::kMap)->names(), Error);
}

TEST(FileSource, GivenFiles) {
  const std::string memory = "in memory", behind(40 << 20, 'x');
  std::vector<uint64_t> offsets;
  const auto read = [&](uint64_t offset, std::span<std::byte> to) {
    offsets.push_back(offset);
    std::memcpy(to.data(), behind.data() + offset, to.size());
  };
  const auto source = given_source(
      {{.name = "z", .size = behind.size(), .read = read}, {.name = "m", .bytes = std::as_bytes(std::span(memory))}});
  EXPECT_THAT(source->names(), ElementsAre("m", "z"));
  const auto in_place = source->open("m");
  EXPECT_EQ(static_cast<const void*>(in_place->bytes().data()), memory.data());
  EXPECT_FALSE(in_place->is_mapped());
  in_place->check_intact();
  EXPECT_EQ(text(*source->open("z")), behind);
  EXPECT_THAT(offsets, ElementsAre(0u, 16u << 20, 32u << 20));
  try {
    source->open("other");
    ADD_FAILURE() << "was opened";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("other: was not given"));
  }
  EXPECT_THROW(given_source({{.name = "a"}, {.name = "a"}}), Error);
  EXPECT_THROW(given_source({{.name = "a"}})->open("a"), Error);  // no bytes
}

}  // namespace
}  // namespace v4rt
