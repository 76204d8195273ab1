#include "graph/runtime/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/runtime/prefix_cache.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using ::testing::HasSubstr;

constexpr int kSlots = 3;

std::shared_ptr<const Model> open(int slots = kSlots, int64_t context = 512, int draft = 0) {
  ModelOptions options = tiny_options();
  options.slots = slots;
  options.context = context;
  options.chunk = 16;
  options.draft = draft;
  return Model::open(tiny_weights(), options);
}

struct Answer {
  std::vector<int32_t> ids;
  GenerateResult result;
  std::string error;
  int done = 0;
};

// Fills `answer`, which must stay where it is.
Request request(std::vector<int32_t> prompt, int64_t max_tokens, Answer& answer) {
  Request r{.prompt = std::move(prompt), .options = {.max_tokens = max_tokens, .end_tokens = {}}};
  r.on_token = [&answer](int32_t id, std::span<const TokenLogprob>) {
    answer.ids.push_back(id);
    return true;
  };
  r.on_done = [&answer](const GenerateResult& result, const std::exception_ptr& error) {
    ++answer.done;
    answer.result = result;
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const Error& e) {
      answer.error = e.what();
    }
  };
  return r;
}

Answer alone(const std::shared_ptr<const Model>& model, const Request& r) {
  Answer answer;
  Session session(model);
  Sampler sampler(r.sampler, 32);
  answer.result = generate(session, r.prompt, r.options, sampler, [&](int32_t id) {
    answer.ids.push_back(id);
    return true;
  });
  return answer;
}

std::vector<int32_t> prompt_of(size_t n, int32_t seed) {
  std::vector<int32_t> ids = tiny_ids(n);
  for (int32_t& id : ids) id = (id + seed) % 32;
  return ids;
}

class Scheduled : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Drafts, Scheduled, testing::Values(0, 1, 3));

// After an even token an odd one, and after an odd one an even one.
class Alternating final : public TokenFilter {
 public:
  std::span<const uint64_t> allowed() override {
    mask_ = odd(ids_.empty() ? 0 : ids_.back()) ? 0x5555'5555 : 0xaaaa'aaaa;
    return {&mask_, 1};
  }
  void accept(int32_t id) override {
    ASSERT_EQ(possible({&id, 1}), 1u);
    ids_.push_back(id);
  }
  size_t possible(std::span<const int32_t> ids) override {
    int32_t last = ids_.empty() ? 0 : ids_.back();
    size_t n = 0;
    for (; n < ids.size() && ids[n] >= 0 && odd(ids[n]) != odd(last); ++n) last = ids[n];
    return n;
  }
  size_t accepted() const override { return ids_.size(); }
  void rewind(size_t n) override { ids_.resize(n); }

 private:
  static bool odd(int32_t id) { return id % 2 != 0; }
  std::vector<int32_t> ids_;
  uint64_t mask_ = 0;
};

TEST_P(Scheduled, EveryRequestGetsWhatItGetsAlone) {
  const auto model = open();
  Session session(open(kSlots, 512, GetParam()));
  Scheduler scheduler(session);
  std::vector<Request> requests;
  std::vector<Answer> answers(12);
  for (size_t i = 0; i < answers.size(); ++i) {
    requests.push_back(
        request(prompt_of(1 + i * i, static_cast<int32_t>(i)), static_cast<int64_t>(i * 3 % 10), answers[i]));
    requests.back().sampler = {.temperature = i % 2 == 0 ? 0.0f : 1.5f, .seed = i};
    if (i % 3 == 0) requests.back().options.end_tokens = {5, 9};
    if (i % 4 == 1) requests.back().sampler.filter = [] { return std::make_unique<Alternating>(); };
    EXPECT_EQ(scheduler.submit(requests.back()), i + 1);
  }
  EXPECT_EQ(scheduler.waiting(), answers.size());
  while (scheduler.step()) EXPECT_LE(scheduler.running(), size_t{kSlots});
  EXPECT_EQ(scheduler.running(), 0u);
  for (size_t i = 0; i < answers.size(); ++i) {
    const Answer expected = alone(model, requests[i]);
    EXPECT_EQ(answers[i].done, 1) << i;
    EXPECT_EQ(answers[i].error, "") << i;
    EXPECT_EQ(answers[i].ids, expected.ids) << i;
    EXPECT_EQ(answers[i].result.stop, expected.result.stop) << i;
    EXPECT_EQ(answers[i].result.tokens, expected.result.tokens) << i;
    EXPECT_LE(answers[i].result.accepted, answers[i].result.drafted) << i;
    for (size_t n = 0; i % 4 == 1 && n < answers[i].ids.size(); ++n) EXPECT_EQ(answers[i].ids[n] % 2, (n + 1) % 2) << i;
  }
}

// While a long prompt is read, those that decode get a token in every step, and another prompt its share.
TEST(Scheduler, ALongPromptKeepsNobodyWaiting) {
  Session session(open());
  Scheduler scheduler(session);
  Answer decoding, reading, late;
  scheduler.submit(request(prompt_of(3, 1), 40, decoding));
  scheduler.step();
  scheduler.submit(request(prompt_of(400, 2), 1, reading));
  for (size_t before = decoding.ids.size(); before < 10; before = decoding.ids.size()) {
    scheduler.step();
    EXPECT_EQ(decoding.ids.size(), before + 1);
  }
  EXPECT_TRUE(reading.ids.empty());
  scheduler.submit(request(prompt_of(14, 3), 1, late));
  for (int i = 0; i < 3; ++i) scheduler.step();  // of fifteen rows it gets seven
  EXPECT_EQ(late.ids.size(), 1u);
  EXPECT_TRUE(reading.ids.empty());
  while (scheduler.step()) {
  }
  EXPECT_EQ(reading.ids.size(), 1u);
  EXPECT_EQ(decoding.ids.size(), 40u);
}

TEST(Scheduler, PromptsShareAChunk) {
  Session session(open());
  Scheduler scheduler(session);
  Answer shorter, longer;
  scheduler.submit(request(prompt_of(320, 1), 1, longer));
  scheduler.submit(request(prompt_of(160, 2), 1, shorter));
  int steps = 0;
  while (shorter.ids.empty()) scheduler.step(), ++steps;
  EXPECT_EQ(steps, 20);  // of sixteen rows each has eight
  while (longer.ids.empty()) scheduler.step(), ++steps;
  EXPECT_NEAR(steps, 30, 1);  // then the other has nearly all of them
}

TEST(Scheduler, RequestsAreCancelledWaitingReadingOrWriting) {
  const auto model = open(1);
  Session session(model);
  Scheduler scheduler(session);
  Answer writing, waiting, by_token, last;
  const uint64_t first = scheduler.submit(request(prompt_of(3, 1), 100, writing));
  const uint64_t second = scheduler.submit(request(prompt_of(3, 2), 100, waiting));
  Request stops = request(prompt_of(3, 4), 100, by_token);
  stops.on_token = [&](int32_t id, std::span<const TokenLogprob>) {
    by_token.ids.push_back(id);
    return by_token.ids.size() < 4;
  };
  scheduler.submit(stops);
  for (int i = 0; i < 5; ++i) scheduler.step();
  scheduler.cancel(first);
  scheduler.cancel(second);
  scheduler.step();
  EXPECT_EQ(writing.result.stop, StopReason::kCancelled);
  EXPECT_EQ(waiting.result.stop, StopReason::kCancelled);
  EXPECT_EQ(waiting.result.tokens, 0);
  const Request plain = request(prompt_of(9, 3), 6, last);
  scheduler.submit(plain);
  while (scheduler.step()) {
  }
  EXPECT_EQ(by_token.ids.size(), 4u);
  EXPECT_EQ(by_token.result.stop, StopReason::kCancelled);
  EXPECT_EQ(last.ids, alone(model, plain).ids);
  scheduler.cancel(first);  // over long ago
  EXPECT_FALSE(scheduler.step());
}

TEST(Scheduler, AFullContextEndsARequest) {
  Session session(open(kSlots, 32));
  Scheduler scheduler(session);
  Answer answer;
  scheduler.submit(request(prompt_of(30, 1), 100, answer));
  while (scheduler.step()) {
  }
  EXPECT_EQ(answer.result.stop, StopReason::kContextFull);
  EXPECT_EQ(answer.ids.size(), 2u);
}

TEST(Scheduler, BadRequestsAreRefusedAtOnce) {
  Session session(open());
  Scheduler scheduler(session);
  Answer answer;
  EXPECT_THROW(scheduler.submit(request({}, 1, answer)), Error);
  EXPECT_THROW(scheduler.submit(request({1, 32}, 1, answer)), Error);
  EXPECT_THROW(scheduler.submit(request(prompt_of(513, 0), 1, answer)), Error);
  Request hot = request({1}, 1, answer);
  hot.sampler.temperature = -1;
  EXPECT_THROW(scheduler.submit(hot), Error);
  EXPECT_FALSE(scheduler.step());
  EXPECT_EQ(answer.done, 0);
}

// A callback that throws ends its own request.
TEST(Scheduler, AFailureIsItsRequestsOwn) {
  const auto model = open();
  Session session(model);
  Scheduler scheduler(session);
  Answer failing, other;
  Request bad = request(prompt_of(5, 1), 10, failing);
  bad.on_token = [](int32_t, std::span<const TokenLogprob>) -> bool {
    fail(Code::kInvalidArgument, "no more of this");
  };
  const Request good = request(prompt_of(7, 2), 10, other);
  scheduler.submit(bad);
  scheduler.submit(good);
  while (scheduler.step()) {
  }
  EXPECT_THAT(failing.error, HasSubstr("no more of this"));
  EXPECT_EQ(other.ids, alone(model, good).ids);
}

TEST(Scheduler, ACacheChangesNoAnswer) {
  const auto model = open();
  Session session(model);
  PrefixCache cache({}, session);
  Scheduler scheduler(session, &cache);
  std::vector<int32_t> prompt = prompt_of(300, 1);
  for (int turn = 0; turn < 3; ++turn) {
    Answer answer;
    const Request r = request(prompt, 10, answer);
    scheduler.submit(r);
    while (scheduler.step()) {
    }
    EXPECT_EQ(answer.ids, alone(model, r).ids) << turn;
    EXPECT_EQ(answer.result.cached_tokens, turn == 0 ? 0 : static_cast<int64_t>(prompt.size()) - 4) << turn;
    prompt.insert(prompt.end(), answer.ids.begin(), answer.ids.end());
    prompt.insert(prompt.end(), {1, 2, 3, 4});
  }
}

// The bits are those of the whole prompt scored alone, whatever runs beside it or is kept of it.
TEST_P(Scheduled, TellsHowLikelyAPromptIs) {
  const auto model = open(kSlots, 512, GetParam());
  const std::vector<int32_t> prompt = prompt_of(150, 3);
  using Chances = std::vector<std::vector<std::pair<int32_t, float>>>;
  const auto chance = [](std::span<const TokenLogprob> logprobs) {
    std::vector<std::pair<int32_t, float>> all;
    for (const TokenLogprob& one : logprobs) all.emplace_back(one.id, one.logprob);
    return all;
  };
  Chances expected;
  std::vector<TokenLogprob> logprobs;
  Session(model).score(prompt, [&](int64_t i, std::span<const float> logits, std::span<const float>) {
    if (i + 1 == static_cast<int64_t>(prompt.size())) return;
    write_logprobs(prompt[static_cast<size_t>(i) + 1], 2, logits, logprobs);
    expected.push_back(chance(logprobs));
  });
  Session session(model);
  PrefixCache cache({}, session);
  Scheduler scheduler(session, &cache);
  Answer first, other;
  scheduler.submit(request(prompt, 4, first));
  scheduler.submit(request(prompt_of(60, 9), 200, other));
  while (first.done == 0) scheduler.step();
  for (const int64_t tokens : {4, 0}) {
    Answer told;
    Chances chances;
    Request r = request(prompt, tokens, told);
    r.sampler.logprobs = 2;
    r.prompt_logprobs = true;
    r.on_prompt = [&](int32_t, std::span<const TokenLogprob> of) { chances.push_back(chance(of)); };
    scheduler.submit(std::move(r));
    while (told.done == 0) scheduler.step();
    EXPECT_EQ(chances, expected);
    EXPECT_EQ(told.ids, std::vector<int32_t>(first.ids.begin(), first.ids.begin() + tokens));
    EXPECT_EQ(told.result.cached_tokens, 0);
  }
  EXPECT_EQ(other.done, 0);  // it went on beside them
}

}  // namespace
}  // namespace v4rt
