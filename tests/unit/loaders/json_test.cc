#include "loaders/files/json.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

static_assert(std::is_nothrow_move_constructible_v<Json> && std::is_nothrow_move_assignable_v<Json>);

Json parsed(std::string_view text) { return parse_request_json(text, "the test"); }

TEST(Json, WritesWhatItRead) {
  const char* const text = R"({"b":[1,-2,18446744073709551615,2.5,1e+30],"a":{"":null,"x":[],"y":{}},"c":"\"\n é"})";
  EXPECT_EQ(parsed(text).dump(), text);
  EXPECT_EQ(parsed(R"([1,{"a":[true,"x"]},1e16,0.5,3.0])").python(), R"([1, {"a": [true, "x"]}, 1e+16, 0.5, 3.0])");
  EXPECT_EQ(parsed(R"({"a":[1,{}],"b":[]})").pretty(), "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
  EXPECT_EQ(Json("\xff").dump(), "\"\xef\xbf\xbd\"");
}

TEST(Json, KeepsLargeIntegersAsTheyAre) {
  const Json large = parsed("123456789012345678901234567890");
  EXPECT_TRUE(large.is_digits());
  EXPECT_FALSE(large.is_number());
  EXPECT_EQ(large.python(), "123456789012345678901234567890");
}

TEST(Json, ARepeatedKeyKeepsItsPlaceAndGetsTheLastValue) {
  EXPECT_EQ(parsed(R"({"a":1,"b":2,"a":3,"c":4,"a":5,"b":[6]})").dump(), R"({"a":5,"b":[6],"c":4})");
}

TEST(Json, EqualNumbersOfAnyType) {
  EXPECT_EQ(Json(1), Json(1u));
  EXPECT_EQ(Json(1), Json(1.0));
  EXPECT_EQ(parsed("1"), Json(int64_t{1}));
  EXPECT_NE(Json(-1), Json(UINT64_MAX));
  EXPECT_NE(Json(1), Json(true));
  EXPECT_NE(Json(0), Json());
  EXPECT_EQ(parsed(R"([1,{"a":2}])"), (Json::Array{1, Json::Object{{"a", 2}}}));
}

TEST(Json, FindsMembersOfObjects) {
  const Json object = parsed(R"({"a":null,"b":2})");
  EXPECT_TRUE(object.contains("a"));
  EXPECT_EQ(object.find("b")->number<int>(), 2);
  EXPECT_EQ(object.find("c"), nullptr);
  EXPECT_EQ(parsed("[1]").find("a"), nullptr);
}

TEST(Json, DeepAndBrokenTextsAreRefused) {
  const auto code = [](const std::string& text) {
    try {
      parsed(text);
    } catch (const Error& e) {
      return e.code();
    }
    return Code::kInternal;
  };
  EXPECT_EQ(code(std::string(64, '[') + std::string(64, ']')), Code::kInternal);
  EXPECT_EQ(code(std::string(65, '[') + std::string(65, ']')), Code::kInvalidArgument);
  for (const char* const text : {"", "{", "[1,]", "1e999", "nul", "{\"a\"}", "\"\xff\""})
    EXPECT_EQ(code(text), Code::kInvalidArgument) << text;
}

}  // namespace
}  // namespace v4rt
