#include "graph/runtime/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "alloc_count.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(Sampler, GreedyTakesTheLowestOfTheLargest) {
  Sampler sampler({}, 5);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3, -kInf}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInf, -kInf, -kInf, -kInf, -kInf}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{0, 0, kInf, kInf, 0}), 2);
}

TEST(Sampler, RefusesBadOptionsAndBadLogits) {
  EXPECT_THROW(Sampler({.temperature = -1}, 4), Error);
  EXPECT_THROW(Sampler({.temperature = kNaN}, 4), Error);
  EXPECT_THROW(Sampler({.top_p = 0}, 4), Error);
  EXPECT_THROW(Sampler({.top_p = 1.5f}, 4), Error);
  EXPECT_THROW(Sampler({.top_p = kNaN}, 4), Error);
  EXPECT_THROW(Sampler({}, 0), Error);
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature}, 3);
    EXPECT_THROW(sampler.sample(std::vector<float>{1, 2}), Error);
    try {
      sampler.sample(std::vector<float>{1, 2, kNaN});
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr("token 2"));
    }
  }
}

TEST(Sampler, PeekingDrawsNothing) {
  const SamplerOptions options{.temperature = 2, .top_p = 0.9f, .seed = 11};
  const std::vector<float> logits{1, 0.5f, 0, -0.5f};
  Sampler peeking(options, 4), plain(options, 4);
  for (int i = 0; i < 100; ++i) {
    const int32_t next = peeking.peek(logits);
    EXPECT_EQ(peeking.sample(logits), next);
    EXPECT_EQ(plain.sample(logits), next);
  }
}

std::vector<int> counts(const SamplerOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options, static_cast<int64_t>(logits.size()));
  std::vector<int> n(logits.size());
  for (int i = 0; i < draws; ++i) ++n[static_cast<size_t>(sampler.sample(logits))];
  return n;
}

TEST(Sampler, DrawsFromTheSoftmax) {
  const std::vector<float> logits{std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  const auto n = counts({.temperature = 1, .seed = 3}, logits, 40000);
  const double expected[] = {0.5, 0.3, 0.15, 0.05};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(n[i] / 40000.0, expected[i], 0.01) << i;

  const auto flat = counts({.temperature = 2, .seed = 3}, logits, 40000);  // square roots
  const double sum = std::sqrt(0.5) + std::sqrt(0.3) + std::sqrt(0.15) + std::sqrt(0.05);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(flat[i] / 40000.0, std::sqrt(expected[i]) / sum, 0.01) << i;
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::vector<float> logits{std::log(0.15f), std::log(0.5f), std::log(0.05f), std::log(0.3f)};
  const auto n = counts({.temperature = 1, .top_p = 0.7f, .seed = 4}, logits, 20000);
  EXPECT_EQ(n[0] + n[2], 0);
  EXPECT_NEAR(n[1] / 20000.0, 0.625, 0.015);
  EXPECT_EQ(counts({.temperature = 1, .top_p = 0.4f, .seed = 4}, logits, 100)[1], 100);
  // Equals: the lower ids are kept.
  EXPECT_EQ(counts({.temperature = 1, .top_p = 0.45f, .seed = 4}, {0, 0, 0, 0}, 1000)[2], 0);
}

TEST(Sampler, SeedDecidesTheSequence) {
  const std::vector<float> logits(100, 0);
  const auto draw = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed}, 100);
    std::vector<int32_t> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(sampler.sample(logits));
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, TinyTemperatureIsGreedyAndFarTailsAreNeverDrawn) {
  EXPECT_EQ(counts({.temperature = 1e-30f, .seed = 1}, {1, 2, 1.999f}, 100)[1], 100);
  EXPECT_EQ(counts({.temperature = 1, .seed = 1}, {0, -200, -kInf}, 1000)[0], 1000);
}

TEST(Sampler, AllocatesNothing) {
  const std::vector<float> logits(1000, 0.5f);
  Sampler sampler({.temperature = 1, .top_p = 0.5f}, 1000);
  const AllocationCount count;
  sampler.sample(logits);
  EXPECT_EQ(count.since(), 0);
}

class Generate : public ::testing::Test {
 protected:
  Session session{Model::open(tiny_weights(), tiny_options())};
  Sampler sampler{{}, 32};
  std::vector<int32_t> prompt = tiny_ids(10), seen;
  std::function<bool(int32_t)> take = [this](int32_t id) {
    seen.push_back(id);
    return true;
  };

  // What greedy decoding by hand gives.
  std::vector<int32_t> by_hand(size_t n) {
    Session other(Model::open(tiny_weights(), tiny_options()));
    std::vector<int32_t> ids;
    std::span<const float> logits = other.feed(prompt);
    while (ids.size() < n) {
      ids.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      logits = other.feed({&ids.back(), 1});
    }
    return ids;
  }
};

TEST_F(Generate, StopsAfterMaxTokensWithAllOfThemFed) {
  const GenerateResult result = generate(session, prompt, {.max_tokens = 6}, sampler, take);
  EXPECT_EQ(result.stop, StopReason::kMaxTokens);
  EXPECT_EQ(result.prompt_tokens, 10);
  EXPECT_EQ(result.tokens, 6);
  EXPECT_EQ(seen, by_hand(6));
  EXPECT_EQ(session.position(), 16);
  EXPECT_FALSE(result.end_token_fed);
  EXPECT_GT(result.prefill_seconds, 0);
  EXPECT_GT(result.decode_seconds, 0);
}

TEST_F(Generate, AnEndTokenIsNeitherHandedOnNorFed) {
  const std::vector<int32_t> expected = by_hand(6);
  size_t first = 0;  // where the token of index 3 first comes
  while (expected[first] != expected[3]) ++first;
  int32_t other = 0;  // a token that does not come
  while (std::find(expected.begin(), expected.end(), other) != expected.end()) ++other;
  const GenerateResult result =
      generate(session, prompt, {.max_tokens = 6, .end_tokens = {other, expected[3]}}, sampler, take);
  EXPECT_EQ(result.stop, StopReason::kEndToken);
  EXPECT_EQ(seen.size(), first);
  EXPECT_EQ(result.tokens, static_cast<int64_t>(first));
  EXPECT_EQ(session.position(), 10 + static_cast<int64_t>(first));
}

TEST_F(Generate, ATextThatEndsAtItsLastTokenWasNotCut) {
  const std::vector<int32_t> expected = by_hand(20);
  size_t n = 1;  // tokens before the first one that differs from token 0
  while (n < expected.size() && expected[n] == expected[0]) ++n;
  ASSERT_LT(n, expected.size());
  GenerateOptions options{.max_tokens = static_cast<int64_t>(n), .end_tokens = {expected[n]}};
  const GenerateResult whole = generate(session, prompt, options, sampler, take);
  EXPECT_EQ(whole.stop, StopReason::kEndToken);
  EXPECT_EQ(whole.tokens, options.max_tokens);
  EXPECT_EQ(session.position(), 10 + options.max_tokens);

  session.reset();
  options.max_tokens -= 1;
  EXPECT_EQ(generate(session, prompt, options, sampler, take).stop, StopReason::kMaxTokens);
}

TEST_F(Generate, StopsWhenTheContextIsFull) {
  const GenerateResult result = generate(session, prompt, {.max_tokens = 1000}, sampler, take);
  EXPECT_EQ(result.stop, StopReason::kContextFull);
  EXPECT_EQ(result.tokens, 54);
  EXPECT_EQ(seen.size(), 54u);
  EXPECT_EQ(session.position(), 64);
}

TEST_F(Generate, ATokenThatWasHandedOnIsFedEvenWhenItCancels) {
  const GenerateResult result =
      generate(session, prompt, {.max_tokens = 9}, sampler, [&](int32_t id) { return take(id) && seen.size() < 3; });
  EXPECT_EQ(result.stop, StopReason::kCancelled);
  EXPECT_EQ(result.tokens, 3);
  EXPECT_EQ(session.position(), 13);
}

TEST_F(Generate, CanBeCancelledInThePrompt) {
  session.on_progress([](int64_t, int64_t) { return false; });
  const GenerateResult result = generate(session, prompt, {}, sampler, take);
  EXPECT_EQ(result.stop, StopReason::kCancelled);
  EXPECT_EQ(result.tokens, 0);
  EXPECT_EQ(session.position(), 7);
}

TEST_F(Generate, PrefillsOnlyWhenNoTokensAreWanted) {
  EXPECT_EQ(generate(session, prompt, {.max_tokens = 0}, sampler, take).stop, StopReason::kMaxTokens);
  EXPECT_TRUE(seen.empty());
  EXPECT_THROW(generate(session, {}, {}, sampler, take), Error);
}

// Guessing changes the time, and nothing else: tokens, draws, why it stopped, the state that is left.
TEST_F(Generate, DraftsChangeNothing) {
  ModelOptions options = tiny_options();
  options.chunk = 16;
  int64_t accepted = 0;
  for (int draft = 1; draft <= 4; ++draft) {
    options.draft = draft;
    const auto model = Model::open(tiny_weights(), options);
    for (uint64_t seed = 0; seed < 12; ++seed) {
      GenerateOptions how{.max_tokens = static_cast<int64_t>(5 + 6 * seed)};
      if (seed % 3 == 0) how.end_tokens = {3, 17};
      const SamplerOptions sampling{.temperature = seed % 2 == 0 ? 0.0f : 0.7f, .seed = seed};
      const auto run = [&](int n, Session& session, std::vector<int32_t>& ids) {
        how.draft = n;
        Sampler sampler(sampling, 32);
        return generate(session, tiny_ids(3 + seed), how, sampler, [&](int32_t id) {
          ids.push_back(id);
          return ids.size() != 40 || seed != 7;
        });
      };
      Session plain(model), guessing(model);
      std::vector<int32_t> expected, got;
      const GenerateResult a = run(0, plain, expected), b = run(draft, guessing, got);
      EXPECT_EQ(got, expected) << draft << " " << seed;
      EXPECT_EQ(b.stop, a.stop) << draft << " " << seed;
      EXPECT_EQ(b.tokens, a.tokens) << draft << " " << seed;
      EXPECT_TRUE(guessing.snapshot().bytes == plain.snapshot().bytes) << draft << " " << seed;
      EXPECT_EQ(a.drafted, 0);
      accepted += b.accepted;
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace v4rt
