#include "loaders/safetensors/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "ops/core/error.h"
#include "ops/core/log.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::span<const std::byte> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::vector<StoredTensor> parse(const std::string& file) { return parse_safetensors(as_bytes(file), "f.safetensors"); }

std::string message_of(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t data) {
  return file_bytes("{" + entry("a", dtype, shape, offsets) + "}", std::string(data, '\1'));
}

TEST(Safetensors, ReadsTensorsOfEveryKind) {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + entry("b", "F32", "[2,3]", "[2,26]") + "," +
                             entry("a", "BF16", "[]", "[0,2]") + "," + entry("none", "I64", "[0,7]", "[2,2]") + "," +
                             entry("pairs", "F4", "[3,2]", "[26,29]") + "}   ";
  const auto tensors = parse(file_bytes(header, std::string(29, 'x')));
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].shape.rank(), 0);
  EXPECT_EQ(tensors[1].name, "none");
  EXPECT_TRUE(tensors[1].bytes.empty());
  EXPECT_EQ(tensors[2].shape, Shape({2, 3}));
  EXPECT_EQ(tensors[2].type, StoredType::kF32);
  EXPECT_EQ(tensors[2].bytes.size(), 24u);
  EXPECT_EQ(spelling(tensors[3].type), "F4");
}

TEST(Safetensors, RefusesBrokenFrames) {
  EXPECT_THAT(message_of("abc"), HasSubstr("f.safetensors: is 3 bytes long"));
  EXPECT_THAT(message_of(std::string(8, '\xff') + "{}"), HasSubstr("more than the limit of 100000000"));
  EXPECT_THAT(message_of(std::string("\x40\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("the header claims 64 bytes, the file has 2"));
  EXPECT_THAT(message_of(file_bytes("[]", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(message_of(file_bytes("", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":", "")), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message_of(file_bytes("{} x", "")), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message_of(file_bytes("{\"\xff\":1}", "")), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message_of(file_bytes("{}", "xyz")), HasSubstr("data area of 3 bytes"));
}

TEST(Safetensors, RefusesWhatTheFormatDoesNotKnow) {
  EXPECT_THAT(message_of(file_bytes("{\"a\":5}", "")), HasSubstr("header entry 'a': the number 5"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"dtype\":7}}", "")), HasSubstr("'a', field 'dtype': the number 7"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"shape\":\"x\"}}", "")), HasSubstr("field 'shape': a string"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"shape\":{}}}", "")), HasSubstr("field 'shape': an object"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"shape\":[[1]]}}", "")), HasSubstr("field 'shape': an array"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"shape\":[null]}}", "")), HasSubstr("null"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"shape\":[true]}}", "")), HasSubstr("a boolean"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"shape\":[1.5]}}", "")), HasSubstr("the number 1.5"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"stride\":[1]}}", "")), HasSubstr("unknown field 'stride'"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "")), HasSubstr("appears twice"));
  EXPECT_THAT(message_of(file_bytes("{\"a\":{}}", "")), HasSubstr("lacks dtype, shape or data_offsets"));
  EXPECT_THAT(message_of(file_bytes("{\"__metadata__\":{\"a\":{}}}", "")), HasSubstr("an object"));
  const std::string deep = "{\"a\":" + std::string(200000, '[');
  EXPECT_THAT(message_of(file_bytes(deep, "")), HasSubstr("an array"));
  EXPECT_THAT(message_of(one("F12", "[1]", "[0,4]", 4)), HasSubstr("unknown dtype 'F12'"));
  EXPECT_THAT(message_of(one("F32", "[1,1,1,1,1]", "[0,4]", 4)), HasSubstr("5 dimensions"));
}

TEST(Safetensors, RefusesImpossibleNumbers) {
  EXPECT_THAT(message_of(one("F32", "[-1]", "[0,4]", 4)), HasSubstr("the number -1"));
  EXPECT_THAT(message_of(one("F32", "[1]", "[-4,0]", 4)), HasSubstr("the number -4"));
  EXPECT_THAT(message_of(one("F32", "[1]", "[4,0]", 4)), HasSubstr("end before they begin"));
  EXPECT_THAT(message_of(one("F32", "[1]", "[0]", 4)), HasSubstr("must hold two numbers"));
  EXPECT_THAT(message_of(one("F32", "[1]", "[0,4,8]", 4)), HasSubstr("must hold two numbers"));
  EXPECT_THAT(message_of(one("F32", "[2]", "[0,8]", 4)), AllOf(HasSubstr("tensor 'a'"), HasSubstr("cut short")));
  EXPECT_THAT(message_of(one("F32", "[1]", "[18446744073709551612,18446744073709551615]", 4)), HasSubstr("cut short"));
  EXPECT_THAT(message_of(one("F32", "[1]", "[0,18446744073709551616]", 4)), HasSubstr("the number"));
  EXPECT_THAT(message_of(one("F32", "[1]", "[0,1e999]", 4)), HasSubstr("not valid JSON"));
  EXPECT_THAT(message_of(one("F32", "[18446744073709551615]", "[0,4]", 4)), HasSubstr("exceeds 63 bits"));
  EXPECT_THAT(message_of(one("F32", "[4294967296,4294967296]", "[0,4]", 4)), HasSubstr("overflows"));
  EXPECT_THAT(message_of(one("F32", "[4611686018427387904,4]", "[0,0]", 0)), HasSubstr("overflows"));
  EXPECT_THAT(message_of(one("F32", "[2]", "[0,4]", 4)),
              HasSubstr("F32 [2] takes 8 bytes, but its data_offsets span 4"));
  EXPECT_THAT(message_of(one("F4", "[3]", "[0,1]", 1)), HasSubstr("do not fill whole bytes"));
}

TEST(Safetensors, TensorsFillTheDataExactlyOnce) {
  const auto two = [](const char* first, const char* second, size_t data) {
    return file_bytes("{" + entry("a", "U8", "[4]", first) + "," + entry("b", "U8", "[4]", second) + "}",
                      std::string(data, 'x'));
  };
  EXPECT_EQ(parse(two("[4,8]", "[0,4]", 8)).front().name, "b");  // the header's order is free
  EXPECT_THAT(message_of(two("[0,4]", "[2,6]", 6)), HasSubstr("tensors 'a' and 'b' overlap"));
  EXPECT_THAT(message_of(two("[0,4]", "[0,4]", 4)), HasSubstr("overlap"));
  EXPECT_THAT(message_of(two("[0,4]", "[6,10]", 10)), HasSubstr("2 bytes before tensor 'b' belong to no tensor"));
  EXPECT_THAT(message_of(two("[0,4]", "[4,8]", 9)), HasSubstr("end at byte 8 of a data area of 9"));
  const std::string twice = "{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("a", "U8", "[1]", "[1,2]") + "}";
  EXPECT_THAT(message_of(file_bytes(twice, "xx")), HasSubstr("tensor 'a' appears twice"));
}

TEST(Safetensors, MessagesStayReadable) {
  const std::string name(5000, 'n');
  const std::string shown = message_of(file_bytes("{\"" + name + "\\u0007\":5}", ""));
  EXPECT_LT(shown.size(), 300u);
  EXPECT_THAT(message_of(file_bytes("{\"bell\\u0007\":5}", "")), HasSubstr("'bell\\x07'"));
}

std::string open_message(const std::string& path) {
  try {
    SafetensorsSet::open(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

const RawTensor kA{"a", "U8", {2}, "aa"}, kB{"b", "U8", {3}, "bbb"};

std::string index_of(const std::vector<std::pair<std::string, std::string>>& map) {
  nlohmann::json weight_map = nlohmann::json::object();
  for (const auto& [tensor, file] : map) weight_map[tensor] = file;
  return nlohmann::json{{"metadata", {{"total_size", 5}}}, {"weight_map", weight_map}}.dump();
}

TEST(SafetensorsSet, SingleFiles) {
  const TempFolder folder;
  folder.write("any-name.safetensors", safetensors_bytes({kA, kB}));
  const auto set = SafetensorsSet::open(folder.path());
  EXPECT_EQ(set->container(), "safetensors, 1 file");
  EXPECT_EQ(set->tensors().size(), 2u);
  ASSERT_NE(set->find("b"), nullptr);
  EXPECT_EQ(set->find("c"), nullptr);
  EXPECT_EQ(SafetensorsSet::open(folder.file("any-name.safetensors"))->source().folder(), folder.path());
  folder.write("second.safetensors", safetensors_bytes({kA}));
  EXPECT_THAT(open_message(folder.path()),
              HasSubstr("several .safetensors files (any-name.safetensors, second.safetensors)"));
  folder.write("model.safetensors", safetensors_bytes({kB}));
  EXPECT_EQ(SafetensorsSet::open(folder.path())->tensors().front().name, "b");
}

TEST(SafetensorsSet, PathsThatCannotBe) {
  const TempFolder folder;
  EXPECT_THAT(open_message(folder.file("no")), HasSubstr("no such file or folder"));
  EXPECT_THAT(open_message(folder.path()), HasSubstr("no .safetensors file in the folder"));
  EXPECT_THAT(open_message(folder.write("model.gguf", "GGUF")), HasSubstr("not a .safetensors file"));
  folder.write("model-00001-of-00002.safetensors", safetensors_bytes({kA}));
  EXPECT_THAT(open_message(folder.file("model-00001-of-00002.safetensors")),
              HasSubstr("is one of 2 shards; give the folder"));
}

TEST(SafetensorsSet, ShardsWithIndex) {
  const TempFolder folder;
  folder.write("model-00001-of-00002.safetensors", safetensors_bytes({kA, {"leftover", "U8", {1}, "x"}}));
  folder.write("model-00002-of-00002.safetensors", safetensors_bytes({kB, {"leftover", "U8", {1}, "y"}}));
  const std::string first = "model-00001-of-00002.safetensors", second = "model-00002-of-00002.safetensors";
  folder.write("model.safetensors.index.json", index_of({{"a", first}, {"b", second}}));
  const auto set = SafetensorsSet::open(folder.path());
  EXPECT_EQ(set->container(), "safetensors, 2 shards with index");
  EXPECT_EQ(set->tensors().size(), 2u) << "only what the index names is taken";
  EXPECT_EQ(set->describe(*set->find("b")), folder.file(second) + ": tensor 'b'");

  folder.write("model.safetensors.index.json", index_of({{"a", second}}));
  EXPECT_THAT(open_message(folder.path()), AllOf(HasSubstr(second), HasSubstr("has no tensor 'a'")));
  folder.write("model.safetensors.index.json", index_of({{"a", first}, {"b", "model-00003-of-00003.safetensors"}}));
  EXPECT_THAT(open_message(folder.path()),
              AllOf(HasSubstr("model-00003-of-00003.safetensors: the shard is missing"), HasSubstr("'b'")));
  for (const char* name : {"../x.safetensors", "/etc/passwd", "", "..", "a\\b", "sub/x.safetensors", "a\x1b[2Jb"}) {
    folder.write("model.safetensors.index.json", index_of({{"a", name}}));
    EXPECT_THAT(open_message(folder.path()), HasSubstr("may only name files of its own folder")) << name;
  }
}

TEST(SafetensorsSet, AnIndexBesideASingleFileIsMentioned) {
  const TempFolder folder;
  std::string notice;
  log::set_sink([&](log::Level, std::string_view text) { notice += text; });
  folder.write("model.safetensors", safetensors_bytes({kA}));
  EXPECT_EQ(SafetensorsSet::open(folder.path())->container(), "safetensors, 1 file");
  EXPECT_EQ(notice, "");
  folder.write("model-00001-of-00001.safetensors", safetensors_bytes({kB}));
  folder.write("model.safetensors.index.json", index_of({{"b", "model-00001-of-00001.safetensors"}}));
  EXPECT_EQ(SafetensorsSet::open(folder.path())->container(), "safetensors, 1 file");
  EXPECT_THAT(notice, AllOf(HasSubstr(folder.file("model.safetensors.index.json")), HasSubstr("is not used")));
  log::set_sink({});
}

TEST(SafetensorsSet, BrokenIndexes) {
  const TempFolder folder;
  const auto with = [&](const std::string& text) {
    folder.write("model.safetensors.index.json", text);
    return open_message(folder.path());
  };
  EXPECT_THAT(with("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(with("[]"), HasSubstr("has no weight_map"));
  EXPECT_THAT(with("{\"weight_map\":[]}"), HasSubstr("has no weight_map"));
  EXPECT_THAT(with("{\"weight_map\":{}}"), HasSubstr("has no weight_map"));
  EXPECT_THAT(with("{\"weight_map\":{\"a\":1}}"), HasSubstr("tensor 'a' has no file name"));
  EXPECT_THAT(with("{\"weight_map\":" + std::string(100000, '[')), HasSubstr("nested deeper than"));
}

TEST(SafetensorsSet, ShardsWithoutIndex) {
  const TempFolder folder;
  folder.write("model-00002-of-00003.safetensors", safetensors_bytes({kB}));
  EXPECT_THAT(open_message(folder.path()),
              AllOf(HasSubstr("2 of 3 shards missing"), HasSubstr("model-00001-of-00003.safetensors"),
                    HasSubstr("model-00003-of-00003.safetensors")));
  folder.write("model-00001-of-00003.safetensors", safetensors_bytes({kA}));
  folder.write("model-00003-of-00003.safetensors", safetensors_bytes({{"c", "U8", {1}, "c"}}));
  const auto set = SafetensorsSet::open(folder.path());
  EXPECT_EQ(set->container(), "safetensors, 3 shards without index");
  EXPECT_EQ(set->tensors().size(), 3u);
  folder.write("model-00003-of-00003.safetensors", safetensors_bytes({kA}));
  EXPECT_THAT(open_message(folder.path()), AllOf(HasSubstr("'a' is in two files"), HasSubstr("model-00003-of-00003")));
  folder.write("model-00001-of-00002.safetensors", safetensors_bytes({kA}));
  EXPECT_THAT(open_message(folder.path()), HasSubstr("more than one model"));
}

TEST(SafetensorsSet, TruncatedShard) {
  const TempFolder folder;
  folder.write("model-00001-of-00002.safetensors", safetensors_bytes({kA}));
  const std::string path = folder.write("model-00002-of-00002.safetensors", safetensors_bytes({kB}));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_THAT(open_message(folder.path()), AllOf(HasSubstr(path), HasSubstr("tensor 'b'"), HasSubstr("cut short")));
  std::filesystem::resize_file(path, 4);
  EXPECT_THAT(open_message(folder.path()), AllOf(HasSubstr(path), HasSubstr("is 4 bytes long")));
}

}  // namespace
}  // namespace v4rt
