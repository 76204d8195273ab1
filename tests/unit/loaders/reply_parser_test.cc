#include "loaders/text/reply_parser.h"

#include <gtest/gtest.h>

#include <random>

#include "loaders/text/json_field.h"
#include "tests/unit/loaders/jsonl.h"

namespace v4rt {
namespace {

struct Reply {
  std::string reasoning, content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments; complete ones
  bool over = false;
};

const Tokenizer& tokenizer() {
  static const auto mini = Tokenizer::open(source_path("examples/models/v4-mini/tokenizer.json"));
  return *mini;
}

Reply parse(const std::vector<int32_t>& ids, ReplyKind kind, bool calls) {
  ReplyParser parser(tokenizer(), kind, calls);
  std::vector<ReplyPiece> pieces;
  for (const int32_t id : ids) parser.push(id, pieces);
  Reply reply{.over = parser.over()};
  parser.flush(pieces);
  std::pair<std::string, std::string> call;
  for (const ReplyPiece& piece : pieces) {
    switch (piece.kind) {
      case ReplyPiece::Kind::kReasoning: reply.reasoning += piece.text; break;
      case ReplyPiece::Kind::kContent: reply.content += piece.text; break;
      case ReplyPiece::Kind::kCall: call = {piece.text, ""}; break;
      case ReplyPiece::Kind::kArguments: call.second += piece.text; break;
      case ReplyPiece::Kind::kCallEnd: reply.calls.push_back(call); break;
    }
  }
  return reply;
}

// The tokens of a text whose control tokens count, the rest cut into pieces of up to `longest` bytes.
std::vector<int32_t> tokens_of(std::string_view text, size_t longest, std::mt19937& random) {
  std::vector<int32_t> ids;
  while (!text.empty()) {
    size_t size = 0;
    for (const std::string_view control : {"<think>", "</think>", "｜DSML｜"})
      if (text.starts_with(control)) size = control.size();
    if (size > 0) {
      ids.push_back(tokenizer().find_added(text.substr(0, size)).value());
    } else {
      size = 1 + random() % longest;
      for (const std::string_view control : {"<think>", "</think>", "｜DSML｜"})
        size = std::min(size, text.find(control));
      size = std::min(size, text.size());
      for (const int32_t id : tokenizer().encode(text.substr(0, size), false)) ids.push_back(id);
    }
    text.remove_prefix(size);
  }
  return ids;
}

// The same however it is cut.
Reply parse(std::string_view text, ReplyKind kind = ReplyKind::kChat, bool calls = true) {
  std::mt19937 random(1);
  const Reply whole = parse(tokens_of(text, text.size() + 1, random), kind, calls);
  for (int i = 0; i < 20; ++i) {
    const Reply cut = parse(tokens_of(text, i == 0 ? 1 : 8, random), kind, calls);
    EXPECT_EQ(cut.reasoning, whole.reasoning) << text;
    EXPECT_EQ(cut.content, whole.content) << text;
    EXPECT_EQ(cut.calls, whole.calls) << text;
  }
  return whole;
}

std::string block(const std::string& inside) { return "\n\n<｜DSML｜tool_calls>\n" + inside + "</｜DSML｜tool_calls>"; }
std::string call(const std::string& parameters) {
  return "<｜DSML｜invoke name=\"f\">\n" + parameters + "</｜DSML｜invoke>\n";
}
std::string parameter(const std::string& attribute, const std::string& value) {
  return "<｜DSML｜parameter name=\"k\" " + attribute + ">" + value + "</｜DSML｜parameter>\n";
}
std::string arguments(const std::string& attribute, const std::string& value) {
  const Reply reply = parse(block(call(parameter(attribute, value))));
  EXPECT_EQ(reply.calls.size(), 1u);
  return reply.calls.empty() ? "" : reply.calls[0].second;
}

TEST(ReplyParser, PublishedCases) {
  const std::string path = fixture_path("encoding/parse_cases.jsonl");
  if (path.empty()) GTEST_SKIP() << "no encoding/parse_cases.jsonl beside the source tree";
  int cases = 0;
  for (const auto& c : read_jsonl(path)) {
    std::string text = c["completion"];
    constexpr std::string_view kEnd = "<｜end▁of▁sentence｜>";
    if (text.ends_with(kEnd)) text.resize(text.size() - kEnd.size());
    const Reply reply = parse(text, c["thinking_mode"] == "chat" ? ReplyKind::kChat : ReplyKind::kThinking);
    if (!c["reference"]["ok"].get<bool>()) continue;
    ++cases;
    const auto& message = c["reference"]["message"];
    EXPECT_EQ(reply.content, message["content"].get<std::string>()) << c["id"];
    EXPECT_EQ(reply.reasoning, message["reasoning_content"].get<std::string>()) << c["id"];
    ASSERT_EQ(reply.calls.size(), message["tool_calls"].size()) << c["id"];
    for (size_t i = 0; i < reply.calls.size(); ++i) {
      const auto& function = message["tool_calls"][i]["function"];
      EXPECT_EQ(reply.calls[i].first, function["name"].get<std::string>()) << c["id"];
      // The reference passes on what is no JSON; we make it a string.
      const std::string expected =
          c["id"] == "tool_nonjson_value" ? "{\"s\": \"not json\"}" : function["arguments"].get<std::string>();
      EXPECT_EQ(reply.calls[i].second, expected) << c["id"];
    }
  }
  EXPECT_GE(cases, 10);
}

TEST(ReplyParser, ReasoningThatDoesNotEndIsAll) {
  const Reply reply = parse("never closed\n\n<", ReplyKind::kThinking);
  EXPECT_EQ(reply.reasoning, "never closed\n\n<");
  EXPECT_EQ(reply.content, "");
  EXPECT_EQ(parse("<think>a</think>b</think>c", ReplyKind::kThinking).reasoning, "a");
  EXPECT_EQ(parse("<think>a</think>b</think>c", ReplyKind::kThinking).content, "bc");
}

TEST(ReplyParser, TextIsText) {
  const std::string text = "a</think>b" + block(call(""));
  EXPECT_EQ(parse(text, ReplyKind::kText, false).content, text);
  EXPECT_EQ(parse("x" + block(call("")), ReplyKind::kChat, false).content, "x" + block(call("")));
}

TEST(ReplyParser, CallsInsideReasoningCloseIt) {
  const Reply reply = parse("r" + block(call("")), ReplyKind::kThinking);
  EXPECT_EQ(reply.reasoning, "r");
  ASSERT_EQ(reply.calls.size(), 1u);
  EXPECT_EQ(reply.calls[0], (std::pair<std::string, std::string>("f", "{}")));
  EXPECT_TRUE(reply.over);
}

TEST(ReplyParser, Values) {
  EXPECT_EQ(arguments("string=\"true\"", "a\"\\\n</b> é"), "{\"k\": \"a\\\"\\\\\\n</b> é\"}");
  EXPECT_EQ(arguments("string=\"true\"", ""), "{\"k\": \"\"}");
  EXPECT_EQ(arguments("string=\"false\"", "{\"a\": [1, 2.50]}"), "{\"k\": {\"a\": [1, 2.50]}}");
  EXPECT_EQ(arguments("string=\"false\"", "no"), "{\"k\": \"no\"}");
  EXPECT_EQ(arguments("", "5"), "{\"k\": 5}");
  EXPECT_EQ(arguments("string=\"yes\"", "five"), "{\"k\": \"five\"}");
}

TEST(ReplyParser, WhatIsNotWellFormed) {
  EXPECT_EQ(parse("<｜DSML｜function_calls><｜DSML｜invoke name=\"a&lt;b\"></｜DSML｜invoke></｜DSML｜function_calls>x")
                .calls,
            (decltype(Reply::calls){{"a<b", "{}"}}));
  EXPECT_EQ(parse("<｜DSML｜ calls><｜DSML｜ invoke name=\"f\"><｜DSML｜ parameter name=\"k\" "
                  "string=\"true\">v</｜DSML｜ parameter>"
                  "</｜DSML｜ invoke></｜DSML｜ calls>")
                .calls,
            (decltype(Reply::calls){{"f", "{\"k\": \"v\"}"}}));
  const std::string cut =
      "x\n\n<｜DSML｜tool_calls>\n" + call(parameter("string=\"true\"", "v")) + "<｜DSML｜invoke name=\"g\">\n";
  EXPECT_EQ(parse(cut).calls, (decltype(Reply::calls){{"f", "{\"k\": \"v\"}"}})) << "the one that is cut is none";
  EXPECT_EQ(parse("x" + block("nothing\n")).content, "x" + block("nothing\n")) << "no call is content";
  EXPECT_EQ(parse("a ｜DSML｜ b").content, "a ｜DSML｜ b");
  EXPECT_EQ(parse("a\n\n<").content, "a\n\n<");
}

}  // namespace
}  // namespace v4rt
