#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "graph/runtime/prefix_cache.h"
#include "graph/runtime/scheduler.h"

namespace v4rt {

// What requests have to say to the thread that waits for them. Several may share one.
class AnswerQueue {
 public:
  using Clock = std::chrono::steady_clock;
  struct Event {
    size_t request = 0;                       // the number that it was submitted with
    int32_t token = -1;                       // -1: it ended
    std::vector<TokenLogprob> logprobs = {};  // of the token, as Request::on_token has them
    GenerateResult result = {};               // when it ended
    std::exception_ptr error = {};            // why, when it failed
    Clock::time_point at = Clock::now();
  };

  void push(Event event);
  std::optional<Event> pop(Clock::time_point until);  // nothing: none came until then

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Event> events_;
};

struct EngineOptions {
  size_t max_waiting = 64;                  // requests without a slot
  std::optional<PrefixCacheOptions> cache;  // none: every prompt is read whole
};

// A scheduler with a thread of its own that steps it, for programs whose requests come from many threads. Every request
// that was taken ends with one event, also when the device fails or the engine stops.
class Engine {
 public:
  // Throws Error when the folder of the cache cannot be used.
  Engine(std::shared_ptr<const Model> model, const EngineOptions& options);
  ~Engine();

  // The request's callbacks are the engine's: its tokens and its end go to `answers`, marked with `number`. Nothing:
  // as many wait as may. Throws Error as Scheduler::submit does, and kDevice after a failure.
  std::optional<uint64_t> submit(Request request, std::shared_ptr<AnswerQueue> answers, size_t number = 0);
  void cancel(uint64_t id);
  void stop();  // what is under way fails, and whatever is submitted later

  size_t waiting() const;
  size_t running() const;
  std::string failure() const;  // empty: it works
  const Model& model() const { return session_.model(); }

 private:
  void run();
  void close(std::string why);

  Session session_;
  std::optional<PrefixCache> cache_;
  const size_t max_waiting_;

  mutable std::mutex mutex_;  // guards what follows, but for step()
  std::condition_variable wake_;
  std::optional<Scheduler> scheduler_;  // none after a failure
  std::string failure_;
  bool submitted_ = false, stop_ = false;
  std::thread thread_;
};

}  // namespace v4rt
