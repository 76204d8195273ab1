#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
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
    bool prompt = false;                      // the token is one of the prompt
    std::vector<TokenLogprob> logprobs = {};  // of the token, as Request::on_token has them
    GenerateResult result = {};               // when it ended
    std::exception_ptr error = {};            // why, when it failed
    Clock::time_point at = Clock::now();
  };

  // `news`: called after each push, by the thread that pushes, which is an engine's.
  explicit AnswerQueue(std::function<void()> news = {}) : news_(std::move(news)) {}

  void push(std::list<Event> events);                 // in a list, so that the last one takes no memory when it comes
  std::optional<Event> pop(Clock::time_point until);  // nothing: none came until then
  void gather(Clock::time_point until);               // waits until then or for an end; tokens that come wake nobody
  void silence();                                     // no news any more; waits for those on their way

 private:
  template <class Fn>
  void wait(std::unique_lock<std::mutex>& lock, Clock::time_point until, const Fn& come);

  std::mutex news_mutex_;
  std::function<void()> news_;  // guarded by it
  std::mutex mutex_;            // guards what follows
  std::condition_variable came_;
  std::list<Event> events_;
  size_t ends_ = 0;         // among them
  bool gathering_ = false;  // somebody waits for those alone
};

struct EngineOptions {
  size_t max_waiting = 64;                  // requests without a slot
  std::optional<PrefixCacheOptions> cache;  // none: every prompt is read whole
  Session::StepTimesFn on_step_times;       // as Session::on_step_times; called by the engine's thread
};

// A scheduler with a thread of its own that steps it, for programs whose requests come from many threads. Every request
// that was taken ends with one event, also when the device fails, memory runs out or the engine stops.
class Engine {
 public:
  // Throws Error when the folder of the cache cannot be used.
  Engine(std::shared_ptr<const Model> model, const EngineOptions& options);
  ~Engine();

  // The request's callbacks are the engine's: its tokens and its end go to `answers`, marked with `number`. Nothing:
  // as many wait as may. Throws Error as Scheduler::submit does, and after a failure that.
  std::optional<uint64_t> submit(Request request, std::shared_ptr<AnswerQueue> answers, size_t number = 0);
  void cancel(uint64_t id) noexcept;
  // What is under way fails, and whatever is submitted later: with `why`, or an Error that says so.
  void stop(std::exception_ptr why = {}) noexcept;

  size_t waiting() const;
  size_t running() const;
  std::string failure() const;  // empty: it works
  const Model& model() const { return session_.model(); }
  Hash mark() const { return session_.mark(); }  // as Session has it

 private:
  void run();

  Session session_;
  std::optional<PrefixCache> cache_;
  const size_t max_waiting_;

  mutable std::mutex mutex_;  // guards what follows, but for step()
  std::condition_variable wake_;
  std::unique_ptr<Scheduler> scheduler_;               // none after a failure,
  const std::shared_ptr<std::exception_ptr> failure_;  // which requests that are dropped end with
  const std::exception_ptr stopped_;
  std::exception_ptr stop_;  // what stop() was told
  bool submitted_ = false;
  std::thread thread_;
};

}  // namespace v4rt
