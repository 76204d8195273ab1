#include "loaders/text/stop_strings.h"

#include <gtest/gtest.h>

#include "ops/core/error.h"

namespace v4rt {
namespace {

// The definition, on a whole text: the end that comes first, then the longest string.
std::string before_stop(const std::string& text, const std::vector<std::string>& strings) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& s : strings)
      if (std::string_view(text).substr(0, end).ends_with(s)) longest = std::max(longest, s.size());
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

struct Case {
  std::vector<std::string> strings;
  std::string text;
};

const Case kCases[] = {
    {{}, "anything"},
    {{"\n\n"}, "a\nb\n\nc\n"},
    {{"stop"}, "s st sto ststop stop"},
    {{"aab"}, "aaaab"},               // what is held back begins anew inside itself
    {{"abab", "b"}, "xabab"},         // the shorter one ends first
    {{"bc", "abc"}, "xabcd"},         // both end at the same byte
    {{"abcd", "bc"}, "abxabce"},      // a start of one holds the whole of another
    {{"</s>", "</think>"}, "a</th"},  // held back and never complete
    {{"\xe2\x82\xac"}, "1\xe2\x82\xac"},
    {{"a"}, "a"},
    {{"abac"}, "abababac"},
};

// Pushes the pieces and checks that nothing is shown too early.
std::string shown(StopStrings& stop, const std::vector<std::string>& pieces, const std::string& expected) {
  std::string text;
  for (const std::string& piece : pieces) {
    text += stop.push(piece);
    EXPECT_TRUE(expected.starts_with(text)) << text;
  }
  return text + stop.flush();
}

TEST(StopStrings, EverySplitGivesTheSameText) {
  for (const auto& [strings, text] : kCases) {
    const std::string expected = before_stop(text, strings);
    StopStrings stop(strings);
    for (unsigned cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      std::vector<std::string> pieces(1);
      for (size_t i = 0; i < text.size(); ++i) {
        pieces.back() += text[i];
        if (i + 1 < text.size() && (cuts >> i & 1) != 0) pieces.emplace_back();
      }
      stop.reset();
      ASSERT_EQ(shown(stop, pieces, expected), expected) << text << ", cuts " << cuts;
      ASSERT_EQ(stop.stopped(), expected != text) << text;
    }
  }
}

TEST(StopStrings, HoldsBackNoMoreThanItMust) {
  StopStrings stop({"stop"});
  EXPECT_EQ(stop.push("a st"), "a ");
  EXPECT_EQ(stop.push("s"), "st");
  EXPECT_EQ(stop.push("top it"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.flush(), "");
}

TEST(StopStrings, RefusesAnEmptyString) { EXPECT_THROW(StopStrings({"a", ""}), Error); }

}  // namespace
}  // namespace v4rt
