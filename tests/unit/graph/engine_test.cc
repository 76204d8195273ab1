#include "graph/runtime/engine.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using Clock = AnswerQueue::Clock;

std::shared_ptr<const Model> open(int slots) {
  ModelOptions options = tiny_options();
  options.slots = slots;
  options.context = 2048;
  options.chunk = 16;
  return Model::open(tiny_weights(), options);
}

Request request(size_t prompt, int64_t max_tokens) {
  Request r;
  r.prompt = tiny_ids(prompt);
  r.options.max_tokens = max_tokens;
  return r;
}

// The tokens of a request until its end.
std::vector<int32_t> wait(AnswerQueue& answers, AnswerQueue::Event* last = nullptr) {
  std::vector<int32_t> ids;
  while (true) {
    const auto event = answers.pop(Clock::now() + std::chrono::minutes(5));
    EXPECT_TRUE(event.has_value()) << "nothing came";
    if (!event || event->token < 0) {
      if (last != nullptr && event) *last = *event;
      return ids;
    }
    ids.push_back(event->token);
  }
}

TEST(Engine, AnswersManyThreads) {
  Engine engine(open(2), {});
  const auto ask = [&](size_t prompt) {
    const auto answers = std::make_shared<AnswerQueue>();
    EXPECT_TRUE(engine.submit(request(prompt, 6), answers).has_value());
    return wait(*answers);
  };
  std::vector<std::vector<int32_t>> alone, together(6);
  for (size_t i = 0; i < together.size(); ++i) alone.push_back(ask(3 + i));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < together.size(); ++i) threads.emplace_back([&, i] { together[i] = ask(3 + i); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
  EXPECT_EQ(together[0].size(), 6u);
}

TEST(Engine, TurnsAwayWhatWouldWaitTooLong) {
  Engine engine(open(1), {.max_waiting = 1});  // so one may be answered, and one wait
  std::vector<std::shared_ptr<AnswerQueue>> taken;
  std::vector<uint64_t> ids;
  for (bool more = true; more;) {
    const auto answers = std::make_shared<AnswerQueue>();
    const auto id = engine.submit(request(4, 1000), answers);
    more = id.has_value();
    if (more) taken.push_back(answers), ids.push_back(*id);
    if (!more) {
      EXPECT_FALSE(answers->pop(Clock::now()).has_value()) << "what was not taken has nothing to say";
    }
  }
  EXPECT_EQ(taken.size(), 2u);
  for (const uint64_t id : ids) engine.cancel(id);
  for (const auto& answers : taken) {
    AnswerQueue::Event last;
    wait(*answers, &last);
    EXPECT_EQ(last.result.stop, StopReason::kCancelled);
    EXPECT_FALSE(last.error);
  }
}

TEST(Engine, WhatIsUnderWayWhenItStopsFails) {
  const auto answers = std::make_shared<AnswerQueue>();
  {
    Engine engine(open(1), {});
    ASSERT_TRUE(engine.submit(request(4, 2000), answers).has_value());
    ASSERT_TRUE(answers->pop(Clock::now() + std::chrono::minutes(5)).has_value());
    engine.stop();
  }
  AnswerQueue::Event last;
  wait(*answers, &last);
  ASSERT_TRUE(last.error);
  EXPECT_THROW(std::rethrow_exception(last.error), Error);
}

TEST(Engine, RefusesWhatTheModelDoesNotTake) {
  Engine engine(open(1), {});
  const auto answers = std::make_shared<AnswerQueue>();
  EXPECT_THROW(engine.submit(request(0, 4), answers), Error);
  EXPECT_FALSE(answers->pop(Clock::now()).has_value());
}

TEST(AnswerQueue, GathersTokensUntilAnEnd) {
  AnswerQueue answers;
  const auto push = [&](int32_t token) {
    std::list<AnswerQueue::Event> one;
    one.push_back({.token = token});
    answers.push(std::move(one));
  };
  push(1);
  const auto soon = Clock::now() + std::chrono::milliseconds(5);
  answers.gather(soon);
  EXPECT_GE(Clock::now(), soon);  // a token is no reason to come back
  std::thread end([&] { push(-1); });
  answers.gather(Clock::now() + std::chrono::hours(1));
  end.join();
  EXPECT_EQ(wait(answers), std::vector<int32_t>{1});
}

}  // namespace
}  // namespace v4rt
