#include "loaders/text/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "loaders/text/tokenizer.h"
#include "tests/unit/loaders/jsonl.h"

namespace v4rt {
namespace {

std::string decoded(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.push(bytes);
  return text + stream.flush();
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// The encoding of a code point, written down without next_utf8.
std::string utf8(uint32_t code) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(escaped("plain text, \xC3\xA9\xEF\xBD\x9C"), "plain text, \xC3\xA9\xEF\xBD\x9C");
  EXPECT_EQ(escaped("\x1b[31mred\r\n\t\x7f"), "\\x1b[31mred\\x0d\\x0a\\x09\\x7f");
  EXPECT_EQ(escaped(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(escaped_lines("two\n  lines\x1b\n"), "two\n  lines\\x1b\n");
  EXPECT_EQ(escaped("\xC2\x9B"
                    "31m\xC2\xA0"),
            "\\xc2\\x9b"
            "31m\xC2\xA0")
      << "C1 controls, but no more of the block";
  EXPECT_EQ(escaped("a\xFF"
                    "b\xE2\x82"),
            "a\\xff"
            "b\\xe2\\x82");
}

TEST(Utf8, EveryCodePoint) {
  for (uint32_t code = 0; code < 0x120000; ++code) {
    const std::string bytes = utf8(code);
    const bool valid = code < 0x110000 && (code < 0xD800 || code > 0xDFFF);
    const Utf8Unit unit = next_utf8(bytes);
    ASSERT_EQ(unit.kind == Utf8Kind::kCharacter, valid) << std::hex << code;
    ASSERT_EQ(decoded(bytes) == bytes, valid) << std::hex << code;
    if (!valid) continue;
    ASSERT_EQ(unit.size, bytes.size());
    for (size_t size = 1; size < bytes.size(); ++size) {
      const Utf8Unit start = next_utf8(std::string_view(bytes).substr(0, size));
      ASSERT_EQ(start.kind, Utf8Kind::kTruncated) << std::hex << code;
      ASSERT_EQ(start.size, size);
    }
  }
}

TEST(Utf8, IllFormed) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"\x80", "�"},                 // a continuation alone
      {"\xC0\xAF", "��"},            // overlong
      {"\xE0\x80\x80", "���"},       // overlong
      {"\xED\xA0\x80", "���"},       // surrogate
      {"\xF4\x90\x80\x80", "����"},  // above U+10FFFF
      {"\xF5\xFF", "��"},            // never valid
      {"\xE4\xBD"
       "a",
       "�a"},  // cut short: one replacement for the correct start
      {"\xF0\x9F\x91"
       "\xE4\xBD\xA0",
       "�你"},
      {"\xF0\x9F", "�"},  // cut short by the end
      {"a\xE4\xBD\xA0\xFF\xE4", "a你��"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(decoded(bytes), text);
}

TEST(Utf8, UniformRun) {
  EXPECT_EQ(uniform_run(""), 0u);
  EXPECT_EQ(uniform_run("a你"), 4u);
  EXPECT_EQ(uniform_run("a\xFF"), 1u);
  EXPECT_EQ(uniform_run("\xFF\xE4\xBD"
                        "a"),
            3u);
  EXPECT_EQ(uniform_run("a\xE4\xBD"), 1u);
  EXPECT_EQ(uniform_run("\xE4\xBD"), 2u);
}

TEST(Utf8Stream, HoldsBackTheStartOfACharacterOnly) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push(""), "");
  EXPECT_EQ(stream.push("\x80"
                        "b"),
            "😀b");
  EXPECT_EQ(stream.push("\xC0"), "�");  // can never go on
  EXPECT_EQ(stream.push("\xE4"), "");
  EXPECT_EQ(stream.flush(), "�");
  EXPECT_EQ(stream.flush(), "");
  EXPECT_EQ(stream.push("c"), "c");
}

TEST(Utf8Stream, AnySplitGivesTheSameText) {
  std::mt19937 random(7);
  const std::string alphabet = from_hex("61c3a9e4bda0f09f9880eda0c0ff");
  for (int round = 0; round < 2000; ++round) {
    std::string bytes, split;
    Utf8Stream stream;
    for (int i = 0; i < 30; ++i) bytes += alphabet[random() % alphabet.size()];
    for (size_t i = 0; i < bytes.size();) {
      const size_t size = 1 + random() % 4;
      split += stream.push(std::string_view(bytes).substr(i, size));
      i += size;
    }
    ASSERT_EQ(split + stream.flush(), decoded(bytes));
  }
}

TEST(Utf8Stream, PublishedCases) {
  const std::string path = fixture_path("tokenizer/stream_cases.jsonl");
  if (path.empty()) GTEST_SKIP() << "no tokenizer/stream_cases.jsonl beside the source tree";
  for (const auto& c : read_jsonl(path)) {
    Utf8Stream stream;
    std::string all, expected;
    std::vector<std::string> emitted;
    for (const auto& hex : c["token_hex"]) emitted.push_back(stream.push(from_hex(hex)));
    const std::string flushed = stream.flush();
    for (const auto& piece : emitted) all += piece;
    for (const auto& piece : c["emit"]) expected += piece.get<std::string>();
    const bool well_formed = expected.find("�") == std::string::npos;
    EXPECT_EQ(all + flushed, expected + c["flush"].get<std::string>()) << c;
    // It is left open at which byte ill-formed text is given up.
    if (well_formed) {
      EXPECT_EQ(emitted, c["emit"].get<std::vector<std::string>>()) << c;
      EXPECT_EQ(flushed, c["flush"].get<std::string>()) << c;
    }
  }
}

}  // namespace
}  // namespace v4rt
