// Published data for the tokenizer of DeepSeek-V4. Splits and added tokens can be tested without its vocabulary; ids
// need its tokenizer.json, which tests/text/reference.sh fetches.

#include <gtest/gtest.h>

#include <filesystem>

#include "loaders/text/chat_encoding.h"
#include "loaders/text/tokenizer.h"
#include "tests/unit/loaders/jsonl.h"

namespace v4rt {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

TEST(TokenizerFixtures, Pieces) {
  const std::string path = fixture_path("tokenizer/pretokens.jsonl");
  if (path.empty()) GTEST_SKIP() << "no tokenizer/pretokens.jsonl beside the source tree";
  for (const char* file : {"tests/data/tokenizer/toy.json", "examples/models/v4-mini/tokenizer.json"}) {
    const auto tokenizer = Tokenizer::open(source_path(file));
    for (const auto& c : read_jsonl(path)) {
      EXPECT_EQ(tokenizer->pretokenize(c["text"].get<std::string>()), c["pieces"].get<std::vector<std::string>>()) << c;
    }
  }
}

// All 1,283 added tokens on the toy vocabulary: their ids and their bytes, and that none hides another.
TEST(TokenizerFixtures, AddedTokens) {
  const std::string path = fixture_path("tokenizer/added_tokens.tsv");
  if (path.empty()) GTEST_SKIP() << "no tokenizer/added_tokens.tsv beside the source tree";
  Json file = Json::parse(read_file(source_path("tests/data/tokenizer/toy.json")));
  std::vector<std::pair<std::string, int32_t>> tokens;
  std::istringstream lines(read_file(path));
  std::string line;
  std::getline(lines, line);  // the header
  while (std::getline(lines, line)) tokens.emplace_back(line.substr(line.find('\t') + 1), std::stoi(line));
  file["added_tokens"] = Json::array();
  for (const auto& [content, id] : tokens) file["added_tokens"].push_back({{"id", id}, {"content", content}});
  const auto tokenizer = Tokenizer::parse(file.dump(), "toy.json with added_tokens.tsv");

  ASSERT_EQ(tokens.size(), 1283u);
  EXPECT_EQ(tokenizer->vocab_size(), 129280);
  std::string all;
  Ids ids;
  for (const auto& [content, id] : tokens) {
    EXPECT_EQ(tokenizer->find_added(content), id);
    EXPECT_EQ(tokenizer->token_bytes(id), content);
    EXPECT_EQ(tokenizer->encode(content), Ids{id});
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(content, false)), content);
    all += content;
    ids.push_back(id);
  }
  EXPECT_EQ(tokenizer->encode(all), ids);
}

class V4Tokenizer : public testing::Test {
 protected:
  void SetUp() override {
    static std::shared_ptr<const Tokenizer> shared;
    const std::string path = V4RT_REFERENCE_DIR "/tokenizer.json";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there; tests/text/reference.sh fetches it";
    folder_ = fixture_path("tokenizer");
    if (folder_.empty()) GTEST_SKIP() << "no tokenizer fixtures beside the source tree";
    if (shared == nullptr) shared = Tokenizer::open(path);
    tokenizer_ = shared;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string folder_;
};

TEST_F(V4Tokenizer, Layout) {
  EXPECT_EQ(tokenizer_->vocab_size(), 129280);
  EXPECT_EQ(tokenizer_->find_added("<think>"), 128821);
  EXPECT_EQ(tokenizer_->find_added("<｜image｜>"), 129279);
  for (int32_t id = 0; id < 129280; ++id) {
    ASSERT_FALSE(tokenizer_->token_bytes(id).empty()) << id;
    ASSERT_EQ(tokenizer_->is_added(id), id < 3 || id >= 128000) << id;
  }
}

TEST_F(V4Tokenizer, GoldenIds) {
  for (const auto& c : read_jsonl(folder_ + "/golden_ids.jsonl")) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["ids"].get<Ids>();
    EXPECT_EQ(tokenizer_->encode(text), ids) << c["text"];
    EXPECT_EQ(tokenizer_->decode(ids), text);
  }
}

TEST_F(V4Tokenizer, OfficialPrompts) {
  for (const auto& c : read_jsonl(folder_ + "/official_outputs_ids.jsonl")) {
    const std::string text = read_file(fixture_path("encoding/official-v4/" + c["file"].get<std::string>()));
    const Ids ids = tokenizer_->encode(text);
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["file"];
    EXPECT_EQ(ids.size(), c["n_tokens"].get<size_t>());
    EXPECT_EQ(tokenizer_->decode(ids), text);
  }
}

// The hosted service counted the tokens of these prompts.
TEST_F(V4Tokenizer, TokenCountsOfTheHostedService) {
  for (const auto& c : read_jsonl(folder_ + "/official_usage.jsonl")) {
    const std::string text = read_file(folder_ + "/" + c["prompt_file"].get<std::string>());
    const auto parts = render_turn(text, "", true, false, {});
    const Ids ids = tokenizer_->encode(parts);
    EXPECT_EQ(ids.size(), c["official_prompt_tokens"].get<size_t>()) << c["id"];
    EXPECT_EQ(ids, tokenizer_->encode(written_out(parts))) << c["id"];
  }
}

}  // namespace
}  // namespace v4rt
