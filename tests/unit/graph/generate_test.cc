#include "graph/runtime/generate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

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

TEST_F(Generate, TheSamplerKnowsWhatWasReadAndChosen) {
  Sampler penalizing({.presence_penalty = 1}, 32);
  generate(session, prompt, {.max_tokens = 6}, penalizing, take);
  std::vector<SamplerState::Use> expected(32);
  for (const int32_t id : prompt) expected[static_cast<size_t>(id)].read = true;
  for (const int32_t id : seen) ++expected[static_cast<size_t>(id)].chosen;
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(penalizing.state().uses[i].read, expected[i].read) << i;
    EXPECT_EQ(penalizing.state().uses[i].chosen, expected[i].chosen) << i;
  }
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
  session.on_progress([](int64_t done, int64_t) { return done < 7; });
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

// Who throws finds the sequence as it is without guesses: with the tokens that were handed over before.
TEST_F(Generate, WhatThrowsLeavesNoGuesses) {
  ModelOptions options = tiny_options();
  options.chunk = 16;
  options.draft = 4;
  const auto model = Model::open(tiny_weights(), options);
  for (size_t n = 1; n < 30; ++n) {
    const auto left = [&](int draft) {
      Session guessing(model);
      Sampler greedy({}, 32);
      size_t handed_over = 0;
      const GenerateOptions how{.max_tokens = 40, .draft = draft, .end_tokens = {}};
      EXPECT_THROW(generate(guessing, prompt, how, greedy,
                            [&](int32_t) {
                              if (++handed_over == n) throw std::runtime_error("enough");
                              return true;
                            }),
                   std::runtime_error);
      return guessing.snapshot();
    };
    EXPECT_EQ(left(4).position, left(0).position) << n;
    EXPECT_TRUE(left(4).bytes == left(0).bytes) << n;
  }
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
