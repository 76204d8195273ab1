#include "graph/runtime/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "alloc_count.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> logs(std::vector<float> probabilities) {
  for (float& p : probabilities) p = std::log(p);
  return probabilities;
}

// What it would draw from after a prompt and these choices.
std::vector<float> distribution(const SamplerOptions& options, const std::vector<float>& logits,
                                const std::vector<int32_t>& prompt = {}, const std::vector<int32_t>& chosen = {}) {
  Sampler sampler(options, static_cast<int64_t>(logits.size()));
  sampler.begin(prompt);
  for (const int32_t id : chosen) sampler.accept(id, logits);
  const std::span<const float> p = sampler.probabilities(logits);
  return {p.begin(), p.end()};
}

auto are(std::vector<float> expected) { return Pointwise(FloatNear(1e-6f), expected); }

// Weights as they come from logits, brought to a sum of 1.
std::vector<float> softmax(std::vector<float> logits) {
  float sum = 0;
  for (float& x : logits) sum += x = std::exp(x);
  for (float& x : logits) x /= sum;
  return logits;
}

TEST(Sampler, GreedyTakesTheLowestOfTheLargest) {
  Sampler sampler({}, 5);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3, -kInf}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInf, -kInf, -kInf, -kInf, -kInf}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{0, 0, kInf, kInf, 0}), 2);
  EXPECT_THAT(distribution({}, {1, 3, 2, 3}), ElementsAre(0, 1, 0, 0));
}

std::string refused(const SamplerOptions& options) {
  try {
    Sampler(options, 4);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(Sampler, RefusesBadOptionsByNameValueAndRange) {
  EXPECT_EQ(refused({.temperature = -1}), "temperature is -1; expected a number from 0 to 100");
  EXPECT_THAT(refused({.temperature = kNaN}), HasSubstr("temperature is nan"));
  EXPECT_THAT(refused({.temperature = kInf}), HasSubstr("temperature is inf"));
  EXPECT_EQ(refused({.top_p = 0}), "top_p is 0; expected a number from 1e-06 to 1");
  EXPECT_THAT(refused({.top_p = 1.5f}), HasSubstr("top_p is 1.5"));
  EXPECT_EQ(refused({.top_k = -1}), "top_k is -1; expected a number from 0 to 2147483647");
  EXPECT_EQ(refused({.min_p = 1.1f}), "min_p is 1.1; expected a number from 0 to 1");
  EXPECT_EQ(refused({.repetition_penalty = 0}), "repetition_penalty is 0; expected a number from 0.01 to 100");
  EXPECT_EQ(refused({.presence_penalty = 3}), "presence_penalty is 3; expected a number from -2 to 2");
  EXPECT_EQ(refused({.frequency_penalty = kNaN}), "frequency_penalty is nan; expected a number from -2 to 2");
  EXPECT_EQ(refused({.logit_bias = {{0, -101}}}), "logit_bias is -101; expected a number from -100 to 100");
  EXPECT_EQ(refused({.logit_bias = {{4, 1}}}), "logit_bias names token 4; the vocabulary has 4");
  EXPECT_EQ(refused({.logprobs = 21}), "logprobs is 21; expected a number from 0 to 20");
  EXPECT_EQ(refused({.top_p = kTopPRange.low}), "no error");
  EXPECT_THROW(Sampler({}, 0), Error);
}

TEST(Sampler, RefusesBadLogitsAndTokens) {
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature, .presence_penalty = 1}, 3);
    EXPECT_THROW(sampler.sample(std::vector<float>{1, 2}), Error);
    EXPECT_THROW(sampler.accept(0, std::vector<float>{1, 2}), Error);
    EXPECT_THROW(sampler.accept(3, std::vector<float>{1, 2, 3}), Error);
    EXPECT_THROW(sampler.begin(std::vector<int32_t>{0, -1}), Error);
    try {
      sampler.sample(std::vector<float>{1, 2, kNaN});
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr("token 2"));
    }
  }
}

// ---- Each step by itself.

TEST(Sampler, TemperatureDividesTheLogits) {
  const std::vector<float> logits{1, 0.5f, -2};
  EXPECT_THAT(distribution({.temperature = 1}, logits), are(softmax(logits)));
  EXPECT_THAT(distribution({.temperature = 2}, logits), are(softmax({0.5f, 0.25f, -1})));
  EXPECT_THAT(distribution({.temperature = 1e-30f}, {1, 2, 1.999f}), ElementsAre(0, 1, 0));
  EXPECT_THAT(distribution({.temperature = 1}, {0, -200, -kInf}), ElementsAre(1, 0, 0));
}

TEST(Sampler, TopKKeepsTheLikeliestAndLowerIdsOnTies) {
  const std::vector<float> logits = logs({0.15f, 0.5f, 0.05f, 0.3f});
  EXPECT_THAT(distribution({.temperature = 1, .top_k = 1}, logits), ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(distribution({.temperature = 1, .top_k = 2}, logits), are({0, 0.625f, 0, 0.375f}));
  EXPECT_THAT(distribution({.temperature = 1, .top_k = 4}, logits), are({0.15f, 0.5f, 0.05f, 0.3f}));
  EXPECT_THAT(distribution({.temperature = 1, .top_k = 1000}, logits), are({0.15f, 0.5f, 0.05f, 0.3f}));
  EXPECT_THAT(distribution({.temperature = 1, .top_k = 2}, {0, 1, 0, 0}), are(softmax({0, 1, -kInf, -kInf})));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = logs({0.15f, 0.5f, 0.05f, 0.3f});
  EXPECT_THAT(distribution({.temperature = 1, .top_p = 0.7f}, logits), are({0, 0.625f, 0, 0.375f}));
  EXPECT_THAT(distribution({.temperature = 1, .top_p = 0.4f}, logits), ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(distribution({.temperature = 1, .top_p = 1e-6f}, logits), ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(distribution({.temperature = 1, .top_p = 0.45f}, {0, 0, 0, 0}), are({0.5f, 0.5f, 0, 0}));
}

TEST(Sampler, MinPKeepsAShareOfTheLargest) {
  const std::vector<float> logits = logs({0.16f, 0.5f, 0.04f, 0.3f});
  EXPECT_THAT(distribution({.temperature = 1, .min_p = 0.31f}, logits), are({1 / 6.0f, 0.5f / 0.96f, 0, 0.3125f}));
}

TEST(Sampler, PenaltiesLookAtWhatTheyAreAbout) {
  const std::vector<float> logits{2, 2, -2, -2};  // 0 and 2 were read, 1 and 2 chosen, 2 twice
  const std::vector<int32_t> prompt{0, 2, 0}, chosen{1, 2, 2};
  const auto penalized = [&](SamplerOptions options) {
    options.temperature = 1;
    return distribution(options, logits, prompt, chosen);
  };
  EXPECT_THAT(penalized({.repetition_penalty = 2}), are(softmax({1, 1, -4, -2})));
  EXPECT_THAT(penalized({.presence_penalty = 0.5f}), are(softmax({2, 1.5f, -2.5f, -2})));
  EXPECT_THAT(penalized({.frequency_penalty = 0.5f}), are(softmax({2, 1.5f, -3, -2})));
  EXPECT_THAT(penalized({.logit_bias = {{3, 4}, {3, 1}, {0, -100}}}), are(softmax({-98, 2, -2, 3})));
}

TEST(Sampler, WhatWasChosenBeforeAPromptBelongsToIt) {
  Sampler sampler({.temperature = 1, .repetition_penalty = 2, .frequency_penalty = 1}, 3);
  const std::vector<float> logits{2, 2, 2};
  sampler.accept(0, logits);
  sampler.begin(std::vector<int32_t>{1});
  EXPECT_THAT(sampler.probabilities(logits), are(softmax({1, 1, 2})));
  sampler.forget();
  EXPECT_THAT(sampler.probabilities(logits), are(softmax({2, 2, 2})));
}

TEST(Sampler, PenaltiesAndBiasHoldAtTemperatureZero) {
  Sampler sampler({.presence_penalty = 2, .logit_bias = {{2, -2}}}, 3);
  const std::vector<float> logits{1, 0, 2};
  EXPECT_EQ(sampler.sample(logits), 0);
  EXPECT_EQ(sampler.sample(logits), 1);
}

// ---- The order of the steps: for each neighbours whose order can be seen, an example that would come out otherwise.

TEST(SamplerOrder, BiasBeforeRepetition) {  // 1 - 2 = -1, times 2; otherwise 1 / 2 - 2
  EXPECT_THAT(distribution({.temperature = 1, .repetition_penalty = 2, .logit_bias = {{0, -2}}}, {1, 0}, {0}),
              are(softmax({-2, 0})));
}

TEST(SamplerOrder, RepetitionBeforeFrequencyAndPresence) {  // 2 / 2 - 1; otherwise (2 - 1) / 2
  EXPECT_THAT(distribution({.temperature = 1, .repetition_penalty = 2, .frequency_penalty = 1}, {2, 0}, {}, {0}),
              are({0.5f, 0.5f}));
  EXPECT_THAT(distribution({.temperature = 1, .repetition_penalty = 2, .presence_penalty = 1}, {2, 0}, {}, {0}),
              are({0.5f, 0.5f}));
}

TEST(SamplerOrder, PenaltiesBeforeTemperature) {  // (2 - 1) / 2; otherwise 2 / 2 - 1
  EXPECT_THAT(distribution({.temperature = 2, .presence_penalty = 1}, {2, 0}, {}, {0}), are(softmax({0.5f, 0})));
}

TEST(SamplerOrder, TemperatureBeforeMinPAndTopP) {
  const std::vector<float> logits = logs({0.64f, 0.32f, 0.04f});  // of their roots 0.8, 0.57, 0.2 the last is a quarter
  const std::vector<float> flat = distribution({.temperature = 2}, logits);
  EXPECT_THAT(distribution({.temperature = 2, .min_p = 0.2f}, logits), are(flat));
  EXPECT_THAT(distribution({.temperature = 2, .top_p = 0.9f}, logits), are(flat));
  EXPECT_EQ(distribution({.temperature = 1, .min_p = 0.2f}, logits)[2], 0);
  EXPECT_EQ(distribution({.temperature = 1, .top_p = 0.9f}, logits)[2], 0);
}

TEST(SamplerOrder, MinPBeforeTopP) {  // 0.4 of the 0.7 that are left suffice; of 1 they would not
  const std::vector<float> logits = logs({0.4f, 0.3f, 0.1f, 0.1f, 0.1f});
  EXPECT_THAT(distribution({.temperature = 1, .top_p = 0.5f, .min_p = 0.5f}, logits), ElementsAre(1, 0, 0, 0, 0));
}

TEST(SamplerOrder, TopKBeforeTopP) {
  const std::vector<float> logits = logs({0.4f, 0.3f, 0.1f, 0.1f, 0.1f});
  EXPECT_THAT(distribution({.temperature = 1, .top_p = 0.5f, .top_k = 2}, logits), ElementsAre(1, 0, 0, 0, 0));
}

// ---- Drawing.

TEST(Sampler, DrawsFromItsDistribution) {
  const std::vector<float> logits = logs({0.1f, 0.4f, 0.05f, 0.25f, 0.2f});
  constexpr int kDraws = 40000;
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 1, .seed = 3}, SamplerOptions{.temperature = 2, .top_p = 0.9f, .seed = 4},
        SamplerOptions{.temperature = 1, .seed = 5, .top_k = 3, .min_p = 0.1f}}) {
    const std::vector<float> expected = distribution(options, logits);
    Sampler sampler(options, 5);
    std::vector<int> n(5);
    for (int i = 0; i < kDraws; ++i) ++n[static_cast<size_t>(sampler.sample(logits))];
    double chi_square = 0;
    for (size_t i = 0; i < 5; ++i) {
      const double mean = double(expected[i]) * kDraws;
      if (mean == 0)
        EXPECT_EQ(n[i], 0);
      else
        chi_square += (n[i] - mean) * (n[i] - mean) / mean;
    }
    EXPECT_LT(chi_square, 13.28);  // p = 0.01 with 4 degrees of freedom
  }
}

TEST(Sampler, DrawsFromAnyWeights) {
  Sampler sampler({.temperature = 1, .seed = 7}, 4);
  int ones = 0;
  for (int i = 0; i < 10000; ++i) {
    const int32_t id = sampler.draw(std::vector<float>{0, 3, 1, 0});
    ASSERT_TRUE(id == 1 || id == 2);
    ones += id == 1 ? 1 : 0;
  }
  EXPECT_NEAR(ones / 10000.0, 0.75, 0.02);
  EXPECT_THROW(sampler.draw(std::vector<float>{0, 0}), Error);
  for (int i = 0; i < 100; ++i) {
    const double u = sampler.uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
  }
}

SamplerOptions all_options() {
  return {.temperature = 0.8f,
          .top_p = 0.95f,
          .seed = 11,
          .top_k = 30,
          .min_p = 0.02f,
          .repetition_penalty = 1.1f,
          .presence_penalty = 0.3f,
          .frequency_penalty = 0.2f,
          .logit_bias = {{3, 1}},
          .logprobs = 5};
}

std::vector<float> some_logits(size_t n) {
  std::vector<float> logits(n);
  for (size_t i = 0; i < n; ++i) logits[i] = std::sin(static_cast<float>(i * i));
  return logits;
}

TEST(Sampler, PeekingChangesNothing) {
  const std::vector<float> logits = some_logits(50);
  Sampler peeking(all_options(), 50), plain(all_options(), 50);
  for (int i = 0; i < 100; ++i) {
    const int32_t next = peeking.peek(logits);
    EXPECT_EQ(peeking.sample(logits), next);
    EXPECT_EQ(plain.sample(logits), next);
  }
}

TEST(Sampler, ItsPartsMakeUpTheWhole) {
  const std::vector<float> logits = some_logits(50);
  Sampler parts(all_options(), 50), whole(all_options(), 50);
  for (int i = 0; i < 100; ++i) {
    const int32_t id = parts.draw(parts.probabilities(logits));
    parts.accept(id, logits);
    EXPECT_EQ(whole.sample(logits), id);
  }
}

TEST(Sampler, ARestoredStateBringsBackTheSameChoices) {
  const std::vector<float> logits = some_logits(50);
  const auto draw = [&](Sampler& sampler) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.sample(logits));
    return ids;
  };
  Sampler sampler(all_options(), 50);
  draw(sampler);
  const SamplerState state = sampler.state();
  const std::vector<int32_t> expected = draw(sampler);
  EXPECT_NE(draw(sampler), expected);
  sampler.restore(state);
  EXPECT_EQ(draw(sampler), expected);
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

TEST(Sampler, AllocatesNothing) {
  const std::vector<float> logits = some_logits(1000);
  const std::vector<int32_t> prompt{1, 2, 3};
  Sampler sampler(all_options(), 1000);
  SamplerState kept = sampler.state();
  const AllocationCount count;
  sampler.begin(prompt);
  for (int i = 0; i < 100; ++i) {
    sampler.peek(logits);
    kept = sampler.state();
    sampler.sample(logits);
    sampler.restore(kept);
  }
  EXPECT_EQ(count.since(), 0);
}

// ---- Log-probabilities.

TEST(Sampler, LogprobsAreTheModelsOwn) {
  const std::vector<float> logits = logs({0.1f, 0.4f, 0.05f, 0.25f, 0.2f});
  Sampler sampler({.temperature = 3, .top_k = 1, .presence_penalty = 2, .logit_bias = {{2, 50}}, .logprobs = 2}, 5);
  EXPECT_THAT(sampler.logprobs(), IsEmpty());
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(sampler.sample(logits), 2);
    const std::span<const TokenLogprob> got = sampler.logprobs();
    ASSERT_EQ(got.size(), 3u);
    EXPECT_EQ(got[0].id, 2);
    EXPECT_NEAR(got[0].logprob, std::log(0.05f), 1e-6f);
    EXPECT_EQ(got[1].id, 1);
    EXPECT_NEAR(got[1].logprob, std::log(0.4f), 1e-6f);
    EXPECT_EQ(got[2].id, 3);
  }
}

TEST(Sampler, LogprobsOfTiesAndOfNone) {
  const std::vector<float> logits{0, 1, 1, 1, -kInf};
  Sampler ties({.logprobs = 2}, 5), few({.logprobs = 20}, 5), alone({.logprobs = 0}, 5), off({}, 5);
  for (Sampler* sampler : {&ties, &few, &alone, &off}) sampler->sample(logits);
  EXPECT_EQ(ties.logprobs()[1].id, 1);
  EXPECT_EQ(ties.logprobs()[2].id, 2);
  ASSERT_EQ(few.logprobs().size(), 6u);
  EXPECT_EQ(few.logprobs()[5].logprob, -kInf);
  EXPECT_EQ(alone.logprobs().size(), 1u);
  EXPECT_THAT(off.logprobs(), IsEmpty());
}

}  // namespace
}  // namespace v4rt
