#include "loaders/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "ops/core/error.h"
#include "tests/unit/loaders/jsonl.h"
#include "tests/unit/loaders/slow_tokenizer.h"

namespace v4rt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Ids = std::vector<int32_t>;

const Tokenizer& toy() {
  static const auto tokenizer = Tokenizer::open(source_path("tests/data/tokenizer/toy.json"));
  return *tokenizer;
}

const Tokenizer& mini() {
  static const auto tokenizer = Tokenizer::open(source_path("examples/models/v4-mini/tokenizer.json"));
  return *tokenizer;
}

// Characters of every kind that the splits tell apart, some of several scripts.
const SlowChars& characters() {
  static const SlowChars all = slow_chars(
      "ablohe"
      "Zéяſß한ｱไﬁª𝔘一龥龦々〇ぁんァー゛"
      "129٣①Ⅷ½𝟘"
      "!.,'_-[]\\/\"$+<>^`|~。，“｜—¿€▁©😀♥"
      "\u0301\u0e49\u0903\u20dd"
      "   \t\n\n\r\u000b\u0085\u00a0\u2003\u2028\u3000" +
      std::string(1, '\0') + "\x1f\x7f\u00ad\u200b\u200d\ufeff\ue000\uffff");
  return all;
}

std::string random_text(std::mt19937& random, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += characters()[random() % characters().size()].bytes;
  return text;
}

std::string random_bytes(std::mt19937& random, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(random());
  return bytes;
}

// The ids of tests/data/tokenizer/toy.json: 3 to 258 are bytes ("!" is 3, "a" 67, space 223, newline 201), 259 and up
// the merges
//   259 he   260 ll   261 hell   262 hello   263 " w"   264 or   265 " wor"   266 ld   267 " world"   268 aa   269 aaaa
//   270 é    271 12   272 "\n\n" 273 ".\n"   274 bc     275 ab
// and 276 to 283 added tokens, without a 282.
TEST(Tokenizer, MergesByRankLeftmostFirst) {
  EXPECT_THAT(toy().encode(""), IsEmpty());
  EXPECT_THAT(toy().encode("h"), ElementsAre(74));
  EXPECT_THAT(toy().encode("hello world"), ElementsAre(262, 267));
  EXPECT_THAT(toy().encode(" hello"), ElementsAre(223, 262));
  EXPECT_THAT(toy().encode("hell"), ElementsAre(261));
  EXPECT_THAT(toy().encode("aaa"), ElementsAre(268, 67));
  EXPECT_THAT(toy().encode("aaaaa"), ElementsAre(269, 67));
  EXPECT_THAT(toy().encode("abc"), ElementsAre(67, 274));  // bc comes before ab
  EXPECT_THAT(toy().encode("aab"), ElementsAre(268, 68));  // aa comes before ab
  EXPECT_THAT(toy().encode("ab"), ElementsAre(275));
  EXPECT_THAT(toy().encode("1234"), ElementsAre(271, 21, 22));
  EXPECT_THAT(toy().encode("112"), ElementsAre(19, 271));
  EXPECT_THAT(toy().encode("1112"), ElementsAre(19, 19, 19, 20));  // 111 and 2: merges do not cross pieces
  EXPECT_THAT(toy().encode("a.\n\nb"), ElementsAre(67, 16, 272, 68));
  EXPECT_THAT(toy().encode("é!"), ElementsAre(270, 3));
  EXPECT_THAT(toy().encode("e\u0301"), ElementsAre(71, 139, 226));  // nothing is normalized
}

TEST(Tokenizer, AddedTokens) {
  EXPECT_THAT(toy().encode("<think>x</think>"), ElementsAre(276, 90, 277));
  EXPECT_THAT(toy().encode("<｜User｜>hello<｜Assistant｜></think>"), ElementsAre(278, 262, 283, 277));
  EXPECT_THAT(toy().encode("<｜begin▁of▁sentence｜>"), ElementsAre(0));
  EXPECT_THAT(toy().encode("<abcd"), ElementsAre(280, 70));  // the longest
  EXPECT_THAT(toy().encode("<abd"), ElementsAre(279, 68, 70));
  EXPECT_THAT(toy().encode("<<a<"), ElementsAre(30, 279, 30));
  EXPECT_THAT(toy().encode("<"), ElementsAre(30));
  EXPECT_THAT(toy().encode("<thin"), ElementsAre(30, 86, 74, 75, 80));
  EXPECT_THAT(toy().encode("he<allo"), ElementsAre(259, 279, 260, 81)) << "nothing merges across an added token";
  EXPECT_THAT(toy().encode("\xFF<think>\xE4"), ElementsAre(190, 276, 163));
}

TEST(Tokenizer, AddedTokensAsText) {
  EXPECT_THAT(toy().encode("<abc", false), ElementsAre(30, 67, 274));
  for (const char* text : {"<think>x</think>", "<｜User｜>", "<｜begin▁of▁sentence｜>", "｜DSML｜"}) {
    const Ids ids = toy().encode(text, false);
    EXPECT_EQ(toy().decode(ids), text);
    for (const int32_t id : ids) EXPECT_FALSE(toy().is_added(id)) << text;
  }
}

TEST(Tokenizer, Parts) {
  const auto encode = [](const std::vector<TextPart>& parts) { return toy().encode(parts); };
  EXPECT_THAT(encode({}), IsEmpty());
  EXPECT_THAT(encode({{"<think>", true}, {"hello"}, {"</think>", true}}), ElementsAre(276, 262, 277));
  EXPECT_EQ(encode({{"<think>"}}), toy().encode("<think>", false));
  EXPECT_THAT(encode({{"hel"}, {"lo wo"}, {""}, {"rld"}}), ElementsAre(262, 267)) << "one text";
  EXPECT_EQ(encode({{"<thi"}, {"nk>"}}), toy().encode("<think>", false));
  EXPECT_THAT(encode({{"a"}, {"<think>", true}, {"a"}}), ElementsAre(67, 276, 67)) << "nothing merges across";
  try {
    encode({{"<｜none｜>", true}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the tokenizer has no control token <｜none｜>");
  }
}

TEST(Tokenizer, Vocabulary) {
  EXPECT_EQ(toy().vocab_size(), 284);
  EXPECT_EQ(toy().token_bytes(0), "<｜begin▁of▁sentence｜>");
  EXPECT_EQ(toy().token_bytes(191), std::string_view("\0", 1));
  EXPECT_EQ(toy().token_bytes(258), "\xAD");
  EXPECT_EQ(toy().token_bytes(267), " world");
  EXPECT_EQ(toy().token_bytes(281), "｜DSML｜");
  for (const int32_t none : {-1, 282, 284, 1 << 30}) EXPECT_EQ(toy().token_bytes(none), "") << none;
  EXPECT_EQ(toy().decode(Ids{262, -1, 282, 267, 9999}), "hello world");
  EXPECT_EQ(toy().find_added("<think>"), 276);
  EXPECT_EQ(toy().find_added("<thin"), std::nullopt);
  EXPECT_EQ(toy().find_added("hello"), std::nullopt);
  EXPECT_TRUE(toy().is_added(1));
  EXPECT_TRUE(toy().is_added(283));
  EXPECT_FALSE(toy().is_added(3));
  EXPECT_FALSE(toy().is_added(282));
}

TEST(Tokenizer, PiecesOfATextThatIsNotUtf8) {
  const std::string text = "ab\xFF\xFE  c\xE4\xBD";
  EXPECT_THAT(toy().pretokenize(text), ElementsAre("ab", "\xFF\xFE", " ", " c", "\xE4\xBD"));
  // The text before and after is cut as if it were alone: the blanks before "c" are not the end of a text.
  EXPECT_THAT(toy().pretokenize("a  \xFF"), ElementsAre("a", "  ", "\xFF"));
}

TEST(Tokenizer, V4MiniGoldenTokens) {
  for (const auto& c : read_jsonl(source_path("examples/models/v4-mini/golden/tokens.jsonl"))) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["ids"].get<Ids>();
    EXPECT_EQ(mini().encode(text), ids) << text;
    EXPECT_EQ(mini().decode(ids), text);
  }
}

TEST(Tokenizer, SplitsLikeTheSlowSplitter) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    const std::string text = random_text(random, 1 + random() % 24);
    ASSERT_EQ(toy().pretokenize(text), slow_split(text)) << nlohmann::json(text);
  }
}

// Pieces on both sides of where encoding changes its method, from letters that merge a lot.
TEST(Tokenizer, MergesLikeTheSlowMerger) {
  std::mt19937 random(2);
  const std::pair<const Tokenizer*, std::string> tokenizers[] = {{&toy(), "tests/data/tokenizer/toy.json"},
                                                                 {&mini(), "examples/models/v4-mini/tokenizer.json"}};
  for (const auto& [tokenizer, path] : tokenizers) {
    const SlowMerger slow(nlohmann::json::parse(read_file(source_path(path))));
    for (int round = 0; round < 600; ++round) {
      const std::string_view letters = round % 3 == 0 ? "a" : round % 3 == 1 ? "aabc" : "etaoinshrlud";
      std::string piece;
      const size_t size = 1 + random() % 150;
      for (size_t i = 0; i < size; ++i) piece += letters[random() % letters.size()];
      ASSERT_EQ(tokenizer->encode(piece), slow.encode(piece)) << piece;
    }
  }
}

TEST(Tokenizer, EveryByteStringComesBack) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    const std::string bytes = random_bytes(random, random() % 200);
    const std::string mixed =
        random_text(random, random() % 20) + bytes.substr(0, 3) + random_text(random, random() % 20);
    for (const Tokenizer* tokenizer : {&toy(), &mini()}) {
      for (const std::string& text : {bytes, mixed, mixed + "<think>" + bytes + "<｜User｜>"}) {
        for (const bool added : {true, false}) {
          const Ids ids = tokenizer->encode(text, added);
          ASSERT_EQ(tokenizer->decode(ids), text);
          for (const int32_t id : ids) ASSERT_FALSE(tokenizer->token_bytes(id).empty());
        }
      }
    }
  }
}

// A quadratic method would need hours for the first piece.
TEST(Tokenizer, LongPieces) {
  std::string letters;
  letters.resize(10'000'000, 'a');
  const Ids ids = toy().encode(letters);
  EXPECT_EQ(ids, Ids(letters.size() / 4, 269));
  for (const char* unit : {" ", "!", "\xFF", "\r", "hello", " \n", "\n ", "你", "1", "<", ". ", "aab"}) {
    std::string text;
    while (text.size() < 500'000) text += unit;
    EXPECT_EQ(mini().decode(mini().encode(text)), text) << unit;
  }
}

TEST(Tokenizer, SharedBetweenThreads) {
  std::mt19937 random(4);
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(random_text(random, 100));
    expected.push_back(mini().encode(texts.back()));
  }
  std::vector<std::vector<Ids>> got(4);
  std::vector<std::thread> threads;
  for (auto& mine : got) {
    threads.emplace_back([&mine, &texts] {
      for (const std::string& text : texts) mine.push_back(mini().encode(text));
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& mine : got) EXPECT_EQ(mine, expected);
}

}  // namespace
}  // namespace v4rt
