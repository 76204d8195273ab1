#include "loaders/text/split_pattern.h"

#include <gtest/gtest.h>

#include "loaders/text/pretokenizer.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using Pieces = std::vector<std::string>;

Pieces split(const std::string& pattern, const std::string& text) {
  SplitMatcher matcher(text.size());
  const SplitRule rule{pattern};
  const Pretokenizer pretokenizer({&rule, 1}, "test.json");
  const auto pieces = pretokenizer.split(text, matcher);
  return {pieces.begin(), pieces.end()};
}

// Cut as Hugging Face tokenizers 0.23.3 cuts.
TEST(SplitPattern, MeansWhatOnigurumaMeans) {
  EXPECT_EQ(split("[a-c\\-é]+", "xab-éy"), (Pieces{"x", "ab-é", "y"}));
  EXPECT_EQ(split("[^a-c]", "axéb"), (Pieces{"a", "x", "é", "b"}));
  EXPECT_EQ(split("[]a]+", "x]a"), (Pieces{"x", "]a"}));
  EXPECT_EQ(split("[+--]+", "a+,-b"), (Pieces{"a", "+,-", "b"}));
  EXPECT_EQ(split("[a-]+", "b-a"), (Pieces{"b", "-a"}));
  EXPECT_EQ(split(".+", "a\nbé\n"), (Pieces{"a", "\n", "bé", "\n"}));
  EXPECT_EQ(split("^b|b$", "b\nab\nbb"), (Pieces{"b", "\na", "b", "\n", "b", "b"}));
  EXPECT_EQ(split("\\p{^L}+", "a12b"), (Pieces{"a", "12", "b"}));
  EXPECT_EQ(split("[\\P{L}]+", "a12b"), (Pieces{"a", "12", "b"}));
  EXPECT_EQ(split("[\\S\\n]+", "a\n b"), (Pieces{"a\n", " ", "b"}));
  EXPECT_EQ(split("\\d\\D", "1a٣b"), (Pieces{"1a", "٣b"}));
  EXPECT_EQ(split("\\x61\\x{e9}\\.", "aé.x"), (Pieces{"aé.", "x"}));
  EXPECT_EQ(split("\\v", "a\nb\vc"), (Pieces{"a\nb", "\v", "c"})) << "a tabulator, no class";
  EXPECT_EQ(split("a{,2}b", "aaab"), (Pieces{"a", "aab"}));
  EXPECT_EQ(split("a{2,}?", "aaaaa"), (Pieces{"aa", "aa", "a"}));
  EXPECT_EQ(split("a{x}", "aa{x}"), (Pieces{"a", "a{x}"}));
  EXPECT_EQ(split("a++a|b", "aab"), (Pieces{"aa", "b"}));
  EXPECT_EQ(split("(a|b)+(?=c)(?!cd)", "abcabcd"), (Pieces{"ab", "cabcd"}));
  EXPECT_EQ(split("(?>a|ab)c|.", "abc"), (Pieces{"a", "b", "c"}));
  EXPECT_EQ(split("(?<!a)b", "abb"), (Pieces{"ab", "b"}));
  EXPECT_EQ(split("[^\\p{L}\\P{L}]|b", "abc"), (Pieces{"a", "b", "c"})) << "a class without members";
}

void expect_refused(const std::string& pattern, const std::string& part) {
  try {
    split(pattern, "");
    ADD_FAILURE() << pattern;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kUnsupported) << pattern;
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("test.json: ")) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

// Verbs that change how PCRE2 works, and syntax that the two engines read differently.
TEST(SplitPattern, RefusesTheRest) {
  for (const char* pattern : {"(*LIMIT_MATCH=4294967295)a", "(*NO_JIT)a", "(*UTF)a", "a(*SKIP)b", "(*FAIL)"})
    expect_refused(pattern, "split 1: bad regex at byte " + std::to_string(std::string(pattern).find('(')));
  for (const char* pattern : {"(?i)a", "(?m:a)", "(?<n>a)", "(?R)", "(?C1)a", "(?(1)a)", "(?#a)"})
    expect_refused(pattern, "only groups without names and look-around are supported");
  for (const char* pattern : {"(a)\\1", "\\bw", "\\w", "\\h", "\\R", "\\X", "\\Ka", "\\Qa", "[\\b]"})
    expect_refused(pattern, " is not supported");
  for (const char* pattern : {"[a[bc]]", "[[:alpha:]]", "[a-z&&b]"}) expect_refused(pattern, "classes within classes");
  for (const char* pattern : {"[z-a]", "[\\s-z]", "[a-\\d]"}) expect_refused(pattern, "a range needs two characters");
  for (const char* pattern : {"a{2}+", "a{2}?", "a{1,2}+"}) expect_refused(pattern, "cannot be followed by");
  for (const char* pattern : {"\\p{Han}", "\\p{}", "\\p{l}", "\\p{Lx}"}) expect_refused(pattern, "unknown property");
  for (const char* pattern : {"\\pL", "\\p{L"}) expect_refused(pattern, "expected \\p{..}");
  for (const char* pattern : {"\\x", "\\x8g", "\\xFF", "\\x{110000}", "\\x{}", "\\x{61"})
    expect_refused(pattern, "expected \\x");
  expect_refused("[a", "bad regex at byte 0 of 2: the class is not closed");
  expect_refused("a\\", "bad regex at byte 1 of 2: a backslash at the end");
  expect_refused("é(a", "bad regex at byte 4 of 4");
  expect_refused("é**", "bad regex at byte 3 of 4");
}

TEST(SplitPattern, ManyKindsOfCharacters) {
  std::string pattern;
  for (uint32_t code = 0x100; code < 0x100 + 127; ++code) pattern += fmt::format("\\x{{{:x}}}?", code);
  EXPECT_EQ(split(pattern, "\u0100\u0101x"), (Pieces{"\u0100\u0101", "x"}));
  expect_refused(pattern + "\\x{4e00}", "more than 128 kinds of characters");  // these, and all others
}

}  // namespace
}  // namespace v4rt
