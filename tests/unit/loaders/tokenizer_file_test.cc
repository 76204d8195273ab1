#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "loaders/text/tokenizer.h"
#include "ops/core/error.h"
#include "tests/unit/loaders/jsonl.h"

namespace v4rt {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

const std::string& toy_text() {
  static const std::string text = read_file(source_path("tests/data/tokenizer/toy.json"));
  return text;
}

// The toy tokenizer with something changed.
Json changed(const std::function<void(Json&)>& change) {
  Json file = Json::parse(toy_text());
  change(file);
  return file;
}

std::string error_of(const std::string& text, Code code) {
  try {
    Tokenizer::parse(text, "toy.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_TRUE(std::string(error.what()).starts_with("toy.json: ")) << error.what();
    EXPECT_LT(std::string(error.what()).size(), 400u);
    return error.what();
  }
  ADD_FAILURE() << "opened";
  return "";
}

struct BadFile {
  std::string name;
  Code code;
  std::string part;  // of the message
  std::function<void(Json&)> change;
};

void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.name; }

Json& split(Json& file, int i) { return file["pre_tokenizer"]["pretokenizers"][i]; }

const std::vector<BadFile> kBadFiles = {
    {"NotAnObject", Code::kCorrupt, "is an array, expected an object", [](Json& f) { f = Json::array({1}); }},
    {"NoModel", Code::kCorrupt, "model is missing, expected an object", [](Json& f) { f.erase("model"); }},
    {"NoModelType", Code::kCorrupt, "model.type is missing", [](Json& f) { f["model"].erase("type"); }},
    {"WordPiece", Code::kUnsupported, "model.type is \"WordPiece\"; only \"BPE\"",
     [](Json& f) { f["model"]["type"] = "WordPiece"; }},
    {"ModelTypeNumber", Code::kCorrupt, "model.type is 3, expected a string", [](Json& f) { f["model"]["type"] = 3; }},
    {"Dropout", Code::kUnsupported, "model.dropout is 0.1", [](Json& f) { f["model"]["dropout"] = 0.1; }},
    {"SubwordPrefix", Code::kUnsupported, "model.continuing_subword_prefix is \"##\"",
     [](Json& f) { f["model"]["continuing_subword_prefix"] = "##"; }},
    {"ByteFallback", Code::kUnsupported, "model.byte_fallback is true",
     [](Json& f) { f["model"]["byte_fallback"] = true; }},
    {"IgnoreMerges", Code::kUnsupported, "model.ignore_merges is true",
     [](Json& f) { f["model"]["ignore_merges"] = true; }},
    {"FlagNumber", Code::kCorrupt, "model.byte_fallback is 1, expected true or false",
     [](Json& f) { f["model"]["byte_fallback"] = 1; }},

    {"NoVocab", Code::kCorrupt, "model.vocab is missing, expected an object",
     [](Json& f) { f["model"].erase("vocab"); }},
    {"VocabArray", Code::kCorrupt, "model.vocab is an array, expected an object",
     [](Json& f) { f["model"]["vocab"] = Json::array(); }},
    {"VocabEmpty", Code::kCorrupt, "no entry for byte 0x00", [](Json& f) { f["model"]["vocab"] = Json::object(); }},
    {"ByteMissing", Code::kCorrupt, "model.vocab: no entry for byte 0x7A",
     [](Json& f) { f["model"]["vocab"].erase("z"); }},
    {"IdString", Code::kCorrupt, "model.vocab[\"hello\"] is \"262\", expected an integer",
     [](Json& f) { f["model"]["vocab"]["hello"] = "262"; }},
    {"IdFloat", Code::kCorrupt, "model.vocab[\"hello\"] is 262.5",
     [](Json& f) { f["model"]["vocab"]["hello"] = 262.5; }},
    {"IdNegative", Code::kCorrupt, "model.vocab[\"hello\"] is -1", [](Json& f) { f["model"]["vocab"]["hello"] = -1; }},
    {"IdHuge", Code::kCorrupt, "is 4194304, expected an integer from 0 to 4194303",
     [](Json& f) { f["model"]["vocab"]["hello"] = 4194304; }},
    {"IdBeyond64Bits", Code::kCorrupt, "is 18446744073709551615",
     [](Json& f) { f["model"]["vocab"]["hello"] = 18446744073709551615u; }},
    {"IdTwice", Code::kCorrupt, "has id 261, which another entry has too",
     [](Json& f) { f["model"]["vocab"]["hello"] = 261; }},
    {"EmptyToken", Code::kCorrupt, "model.vocab: id 300 is an empty string",
     [](Json& f) { f["model"]["vocab"][""] = 300; }},
    {"LongTokenInMessage", Code::kCorrupt, "aaaa\"... has id 261",
     [](Json& f) {
       f["model"]["vocab"].erase("hell");
       f["model"]["vocab"][std::string(100000, 'a')] = 261;
       f["model"]["vocab"]["b" + std::string(100000, 'a')] = 261;
     }},

    {"NoMerges", Code::kCorrupt, "model.merges is missing, expected an array",
     [](Json& f) { f["model"].erase("merges"); }},
    {"MergesObject", Code::kCorrupt, "model.merges is an object, expected an array",
     [](Json& f) { f["model"]["merges"] = Json::object(); }},
    {"MergeNumber", Code::kCorrupt, "model.merges[1] is 7, expected \"left right\"",
     [](Json& f) { f["model"]["merges"][1] = 7; }},
    {"MergeOneWord", Code::kCorrupt, "model.merges[0] is \"he\", expected",
     [](Json& f) { f["model"]["merges"][0] = "he"; }},
    {"MergeThreeWords", Code::kCorrupt, "model.merges[0] is \"h e l\", expected",
     [](Json& f) { f["model"]["merges"][0] = "h e l"; }},
    {"MergeTriple", Code::kCorrupt, "model.merges[0] is an array, expected",
     [](Json& f) {
       f["model"]["merges"][0] = {"h", "e", "l"};
     }},
    {"MergeOfUnknown", Code::kCorrupt, "model.merges[0] makes \"zzh\", but \"zz\" is not in the vocab",
     [](Json& f) { f["model"]["merges"][0] = "zz h"; }},
    {"MergeToUnknown", Code::kCorrupt, "model.merges[0] makes \"hz\", but \"hz\" is not in the vocab",
     [](Json& f) { f["model"]["merges"][0] = "h z"; }},
    {"MergeOfNothing", Code::kCorrupt, "but \"\" is not in the vocab",
     [](Json& f) { f["model"]["merges"][0] = " he"; }},
    {"MergeTwice", Code::kCorrupt, "model.merges[17] joins \"h\" and \"e\", as a merge before it does",
     [](Json& f) {
       f["model"]["merges"].push_back({"h", "e"});
     }},
    // A merge always makes a longer token, so a cycle has to go through one that does not exist.
    {"MergeCycle", Code::kCorrupt, "makes \"hehello\", but",
     [](Json& f) {
       f["model"]["merges"].push_back({"he", "hello"});
     }},

    {"AddedObject", Code::kCorrupt, "added_tokens is an object, expected an array",
     [](Json& f) { f["added_tokens"] = Json::object(); }},
    {"AddedString", Code::kCorrupt, "added_tokens[3] is \"x\", expected an object",
     [](Json& f) { f["added_tokens"][3] = "x"; }},
    {"AddedNoContent", Code::kCorrupt, "added_tokens[3].content is missing",
     [](Json& f) { f["added_tokens"][3].erase("content"); }},
    {"AddedEmpty", Code::kCorrupt, "added_tokens[3]: \"\" is an empty string",
     [](Json& f) { f["added_tokens"][3]["content"] = ""; }},
    {"AddedTooLong", Code::kUnsupported, "has 1025 bytes; at most 1024 can be run",
     [](Json& f) { f["added_tokens"][3]["content"] = std::string(1025, '<'); }},
    {"AddedNoId", Code::kCorrupt, "added_tokens[3].id is missing, expected an integer",
     [](Json& f) { f["added_tokens"][3].erase("id"); }},
    {"AddedHugeId", Code::kCorrupt, "added_tokens[3].id is 2147483648",
     [](Json& f) { f["added_tokens"][3]["id"] = 2147483648; }},
    {"AddedTwice", Code::kCorrupt, "added_tokens[4]: \"<think>\" is listed twice",
     [](Json& f) { f["added_tokens"][4]["content"] = "<think>"; }},
    {"AddedIdTwice", Code::kCorrupt, "\"</think>\" has id 276, which another token has too",
     [](Json& f) { f["added_tokens"][4]["id"] = 276; }},
    {"AddedIdOfVocab", Code::kCorrupt, "\"</think>\" has id 262, which another token has too",
     [](Json& f) { f["added_tokens"][4]["id"] = 262; }},
    {"AddedOtherIdInVocab", Code::kCorrupt, "\"hello\" has id 277, but another one in the vocab",
     [](Json& f) { f["added_tokens"][4]["content"] = "hello"; }},
    // "é" in the vocab is the byte 0xE9; as an added token it would be the bytes C3 A9.
    {"AddedOtherBytesInVocab", Code::kCorrupt, "\"é\" has id 168, which another token has too",
     [](Json& f) {
       f["added_tokens"][4] = {{"id", 168}, {"content", "é"}};
     }},
    {"AddedStrips", Code::kUnsupported, "\"<think>\": lstrip is true",
     [](Json& f) { f["added_tokens"][3]["lstrip"] = true; }},

    {"Nfc", Code::kUnsupported, "normalizer is \"NFC\"",
     [](Json& f) {
       f["normalizer"] = {{"type", "NFC"}};
     }},
    {"NormalizerSequence", Code::kUnsupported, "normalizer is \"Sequence\"; only null or an empty Sequence",
     [](Json& f) {
       f["normalizer"]["normalizers"].push_back({{"type", "NFC"}});
     }},
    {"PostProcessor", Code::kUnsupported, "post_processor.type is \"TemplateProcessing\"",
     [](Json& f) { f["post_processor"]["type"] = "TemplateProcessing"; }},
    {"Decoder", Code::kUnsupported, "decoder.type is \"WordPiece\"",
     [](Json& f) { f["decoder"]["type"] = "WordPiece"; }},

    {"NoPreTokenizer", Code::kCorrupt, "pre_tokenizer is null, expected an object",
     [](Json& f) { f["pre_tokenizer"] = nullptr; }},
    {"Whitespace", Code::kUnsupported, "pre_tokenizer.pretokenizers[1].type is \"Whitespace\"; only",
     [](Json& f) { split(f, 1)["type"] = "Whitespace"; }},
    {"NoByteLevel", Code::kUnsupported, "pre_tokenizer has no ByteLevel step",
     [](Json& f) { f["pre_tokenizer"]["pretokenizers"].erase(3); }},
    {"AfterByteLevel", Code::kUnsupported, "pretokenizers[4] follows ByteLevel",
     [](Json& f) { f["pre_tokenizer"]["pretokenizers"].push_back(Json(split(f, 0))); }},
    {"ByteLevelRegex", Code::kUnsupported, "use_regex and add_prefix_space must both be false",
     [](Json& f) { split(f, 3).erase("use_regex"); }},
    {"PrefixSpace", Code::kUnsupported, "use_regex and add_prefix_space must both be false",
     [](Json& f) { split(f, 3)["add_prefix_space"] = true; }},
    {"Removed", Code::kUnsupported, "pretokenizers[0].behavior is \"Removed\"",
     [](Json& f) { split(f, 0)["behavior"] = "Removed"; }},
    {"Inverted", Code::kUnsupported, "pretokenizers[0].invert is true", [](Json& f) { split(f, 0)["invert"] = true; }},
    {"NoPattern", Code::kCorrupt, "pretokenizers[0].pattern is missing", [](Json& f) { split(f, 0).erase("pattern"); }},
    {"NoRegex", Code::kCorrupt, "pretokenizers[0].pattern.Regex is missing",
     [](Json& f) { split(f, 0)["pattern"] = Json::object(); }},
    {"EmptyRegex", Code::kCorrupt, "pre-tokenizer split 1: the pattern is empty",
     [](Json& f) { split(f, 0)["pattern"]["Regex"] = ""; }},
    {"BadRegex", Code::kUnsupported, "pre-tokenizer split 2: bad regex at byte 4 of 4: missing closing parenthesis",
     [](Json& f) { split(f, 1)["pattern"]["Regex"] = "(a|b"; }},
    {"UnknownProperty", Code::kUnsupported,
     "pre-tokenizer split 3: bad regex at byte 1 of 10: unknown property \"Zzz9\"",
     [](Json& f) { split(f, 2)["pattern"]["Regex"] = "[\\p{Zzz9}]"; }},
};

class BadTokenizerFile : public testing::TestWithParam<BadFile> {};

TEST_P(BadTokenizerFile, IsNamedInTheMessage) {
  const std::string message = error_of(changed(GetParam().change).dump(), GetParam().code);
  EXPECT_NE(message.find(GetParam().part), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(All, BadTokenizerFile, testing::ValuesIn(kBadFiles),
                         [](const auto& info) { return info.param.name; });

TEST(TokenizerFile, CutShortAnywhere) {
  for (size_t size = 0; size + 2 < toy_text().size(); size += 97) {
    EXPECT_NE(error_of(toy_text().substr(0, size), Code::kCorrupt), "") << size;
  }
}

// Whatever is damaged, the file either opens or causes an Error that names it.
TEST(TokenizerFile, DamagedAnywhere) {
  std::mt19937 random(5);
  const std::string bytes = "\"{}[]:,0129-.eE\\ntu(*+?) \xFF";
  int opened = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = toy_text();
    for (int i = 0; i < 2; ++i) text[random() % text.size()] = bytes[random() % bytes.size()];
    try {
      const auto tokenizer = Tokenizer::parse(text, "toy.json");
      ++opened;
      const Ids ids = tokenizer->encode("hello <think> aaa 123\n");
      EXPECT_FALSE(ids.empty());
    } catch (const Error& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("toy.json: ")) << error.what();
    }
  }
  EXPECT_GT(opened, 10);
  EXPECT_LT(opened, 3900);
}

TEST(TokenizerFile, NotThere) {
  try {
    Tokenizer::open("/no/such/tokenizer.json");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kNotFound);
    EXPECT_NE(std::string(error.what()).find("/no/such/tokenizer.json"), std::string::npos);
  }
}

void expect_same(const Tokenizer& a, const Tokenizer& b) {
  for (const char* text : {"hello world", "aaaaaaa 1234 <think>abc</think>", "é。\n\n x", "\xFF\x80"}) {
    EXPECT_EQ(a.encode(text), b.encode(text));
  }
}

TEST(TokenizerFile, MergesAsPairs) {
  const Json pairs = changed([](Json& f) {
    for (Json& merge : f["model"]["merges"]) {
      const auto text = merge.get<std::string>();
      merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
    }
  });
  expect_same(*Tokenizer::parse(pairs.dump(), "pairs"), *Tokenizer::parse(toy_text(), "toy"));
}

TEST(TokenizerFile, WhatMayBeLeftOut) {
  const Json spare = changed([](Json& f) {
    for (const char* key : {"version", "truncation", "padding", "normalizer", "post_processor", "decoder"})
      f.erase(key);
    for (const char* key : {"dropout", "unk_token", "fuse_unk", "byte_fallback"}) f["model"].erase(key);
  });
  expect_same(*Tokenizer::parse(spare.dump(), "spare"), *Tokenizer::parse(toy_text(), "toy"));
}

TEST(TokenizerFile, NoAddedTokensAndNoSplits) {
  const Json bare = changed([](Json& f) {
    f.erase("added_tokens");
    f["pre_tokenizer"] = Json(split(f, 3));
  });
  const auto tokenizer = Tokenizer::parse(bare.dump(), "bare");
  EXPECT_EQ(tokenizer->pretokenize("a 1234!\n"), std::vector<std::string>{"a 1234!\n"});
  EXPECT_EQ(tokenizer->encode("<think>"), tokenizer->encode("<think>", false));
  EXPECT_EQ(tokenizer->find_added("<think>"), std::nullopt);
}

std::vector<std::string> pieces_with(const Json& pattern, const std::string& text) {
  const Json file = changed([&](Json& f) {
    f["pre_tokenizer"]["pretokenizers"].erase(2);
    f["pre_tokenizer"]["pretokenizers"].erase(1);
    split(f, 0)["pattern"] = pattern;
  });
  return Tokenizer::parse(file.dump(), "one split")->pretokenize(text);
}

using Pieces = std::vector<std::string>;

TEST(TokenizerFile, OtherPatterns) {
  EXPECT_EQ(pieces_with({{"String", ".+"}}, "a.+b"), (Pieces{"a", ".+", "b"}));
  EXPECT_EQ(pieces_with({{"String", "你好"}}, "你你好好"), (Pieces{"你", "你好", "好"}));
  EXPECT_EQ(pieces_with({{"Regex", "x*"}}, "axxb你c"), (Pieces{"a", "xx", "b", "你", "c"})) << "an empty match cuts";
  EXPECT_EQ(pieces_with({{"Regex", "(?<=a)b"}}, "abb"), (Pieces{"a", "b", "b"}));
}

// Groups need the matcher's stack, which the JIT has little of.
TEST(TokenizerFile, DeepPatternOnALongText) {
  const std::string text(200'000, 'a');
  EXPECT_EQ(pieces_with({{"Regex", "(?:(a)|(b))+c?"}}, text), Pieces{text});
}

// Each of these would take minutes or forever: in a single match, or in many that are quick by themselves.
TEST(TokenizerFile, EndlessPatternsGiveUp) {
  const std::pair<const char*, std::string> cases[] = {
      {"(a+)+b", std::string(60, 'a') + "cb"},
      {"(?:a|a){0,21}c|.", std::string(2000, 'a')},
      {".(?=[^x]*+x)|.", std::string(300'000, 'a')},
  };
  for (const auto& [pattern, text] : cases) {
    try {
      pieces_with({{"Regex", pattern}}, text);
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::kUnsupported);
      const std::string message = error.what();
      EXPECT_TRUE(message.starts_with("one split: pre-tokenizer split 1: its regex is not done with a text of " +
                                      std::to_string(text.size()) + " bytes after "))
          << message;
    }
  }
}

}  // namespace
}  // namespace v4rt
