// The embedded model: golden logits, golden continuations, and the same tokens from every backend.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/runtime/generate.h"
#include "loaders/text/tokenizer.h"
#include "tests/support/golden_file.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

std::vector<int32_t> greedy(const std::shared_ptr<const Model>& model, std::span<const int32_t> prompt, int64_t n,
                            std::vector<int32_t> end_tokens) {
  Session session(model);
  Sampler sampler({}, model->config().vocab_size);
  std::vector<int32_t> ids;
  generate(session, prompt, {.max_tokens = n, .end_tokens = std::move(end_tokens)}, sampler, [&](int32_t id) {
    ids.push_back(id);
    return true;
  });
  return ids;
}

class Mini : public testing::TestWithParam<std::string> {};

TEST_P(Mini, PlainLogitsMatchTheGoldenFile) {
  const GoldenFile golden(mini_path() + "/golden/plain.safetensors");
  const auto model = open_model(mini_path(), {.device = GetParam(), .numbers = NumberMode::kPlain, .mtp = true});
  const auto vocab = static_cast<size_t>(model->config().vocab_size);
  for (const std::string text : {"short", "chat", "code"}) {
    Session session(model);
    const Scores scores = score_all(session, golden.i32(text + ".ids"));
    const auto compare = [&](const std::vector<float>& got, const std::string& positions, const std::string& values) {
      const std::vector<int32_t> at = golden.i32(text + positions);
      const std::vector<float> expected = golden.f32(text + values);
      float worst = 0;
      for (size_t i = 0; i < at.size(); ++i) {
        const auto row = std::span(got).subspan(static_cast<size_t>(at[i]) * vocab, vocab);
        const auto want = std::span(expected).subspan(i * vocab, vocab);
        for (size_t v = 0; v < vocab; ++v) worst = std::max(worst, std::abs(row[v] - want[v]));
        EXPECT_EQ(argmax(row), argmax(want)) << text << values << " at " << at[i];
      }
      EXPECT_LE(worst, 2e-4) << text << values;
    };
    compare(scores.logits, ".positions", ".logits");
    compare(scores.mtp, ".mtp_positions", ".mtp_logits");
  }
}

TEST_P(Mini, ContinuesAsTheGoldenTextDoes) {
  std::ifstream file(mini_path() + "/golden/text.json");
  const auto cases = nlohmann::json::parse(file)["greedy"];
  ASSERT_FALSE(cases.empty());
  const auto model = open_model(mini_path(), {.device = GetParam(), .numbers = NumberMode::kPlain});
  for (const auto& c : cases) {
    const auto prompt = c["prompt_ids"].get<std::vector<int32_t>>();
    auto expected = c["ids"].get<std::vector<int32_t>>();
    const auto margins = c["margin"].get<std::vector<float>>();
    size_t sure = 0;  // a choice between near equals may go either way, and so may everything after it
    while (sure < margins.size() && margins[sure] >= 1e-3f) ++sure;
    const std::vector<int32_t> got = greedy(model, prompt, static_cast<int64_t>(expected.size()), {});
    ASSERT_EQ(got.size(), expected.size());
    EXPECT_TRUE(std::equal(got.begin(), got.begin() + static_cast<ptrdiff_t>(sure), expected.begin())) << c["name"];
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Mini, testing::ValuesIn(built_in_backends()),
                         [](const auto& info) { return info.param; });

// Raw text and chat, code and prose; 256 tokens each, past the end token, so that unlikely text is compared too.
const std::string kPrompts[] = {
    "def factorial(n):\n    ",
    "import os\n\nclass Cache:\n    def __init__(self, size):\n",
    "The capital of France is",
    "for i in range(10):\n    print(",
    "\"\"\"Parse a configuration file.",
    "<｜User｜>What is the capital of Italy?<｜Assistant｜></think>",
    "<｜User｜>Reverse the list: apple, cloud, river<｜Assistant｜></think>",
    "<｜User｜>Repeat after me: tiger garden violin<｜Assistant｜><think>",
    "1 2 3 4 5 6",
    "try:\n    value = int(text)\nexcept",
};

TEST(MiniTokens, AreTheSameFromEveryBackend) {
  const auto tokenizer = Tokenizer::open(mini_path() + "/tokenizer.json");
  for (const NumberMode mode : {NumberMode::kFaithful, NumberMode::kPlain}) {
    std::vector<std::vector<int32_t>> expected;
    for (const std::string& device : built_in_backends()) {
      const auto model = open_model(mini_path(), {.device = device, .numbers = mode, .context = 400});
      for (size_t i = 0; i < std::size(kPrompts); ++i) {
        const auto ids = greedy(model, tokenizer->encode("<｜begin▁of▁sentence｜>" + kPrompts[i]), 256, {});
        ASSERT_EQ(ids.size(), 256u);
        if (expected.size() <= i) expected.push_back(ids);
        EXPECT_EQ(ids, expected[i]) << device << ", " << mode_name(mode) << ", prompt " << i;
      }
    }
  }
}

}  // namespace
}  // namespace v4rt
