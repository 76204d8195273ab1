#include "graph/runtime/engine.h"

#include <system_error>
#include <utility>

#include "ops/core/log.h"

namespace v4rt {
namespace {

// One request's end of an AnswerQueue. A request that is dropped without a word, because there is no scheduler any
// more, still ends: the last copy of its callbacks takes this with it.
class Ticket {
 public:
  Ticket(std::shared_ptr<AnswerQueue> answers, size_t number, std::shared_ptr<const std::exception_ptr> failure)
      : answers_(std::move(answers)), failure_(std::move(failure)), number_(number) {}
  ~Ticket() {
    if (!end_.empty()) end({.stop = StopReason::kCancelled}, *failure_);
  }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  void token(int32_t id, std::span<const TokenLogprob> logprobs, bool prompt) {
    std::list<AnswerQueue::Event> one;
    one.push_back({.request = number_, .token = id, .prompt = prompt, .logprobs = {logprobs.begin(), logprobs.end()}});
    answers_->push(std::move(one));
  }
  void end(const GenerateResult& result, const std::exception_ptr& error) {
    end_.front().request = number_;
    end_.front().result = result;
    end_.front().error = error;
    end_.front().at = AnswerQueue::Clock::now();
    answers_->push(std::move(end_));
  }
  void forget() { end_.clear(); }  // it was not taken

 private:
  const std::shared_ptr<AnswerQueue> answers_;
  const std::shared_ptr<const std::exception_ptr> failure_;
  const size_t number_;
  std::list<AnswerQueue::Event> end_{1};  // until it was pushed
};

std::string message_of(const std::exception_ptr& error) {
  if (!error) return {};
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
}

}  // namespace

void AnswerQueue::push(std::list<Event> events) {
  {
    const std::lock_guard lock(mutex_);
    for (const Event& event : events) ends_ += event.token < 0;
    events_.splice(events_.end(), events);
    if (!gathering_ || ends_ > 0) came_.notify_one();
  }
  const std::lock_guard lock(news_mutex_);
  if (news_) news_();
}

void AnswerQueue::silence() {
  const std::lock_guard lock(news_mutex_);
  news_ = nullptr;
}

// Of a time that has passed, the system would still make other threads run first.
template <class Fn>
void AnswerQueue::wait(std::unique_lock<std::mutex>& lock, Clock::time_point until, const Fn& come) {
  if (until > Clock::now()) came_.wait_until(lock, until, come);
}

std::optional<AnswerQueue::Event> AnswerQueue::pop(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  wait(lock, until, [this] { return !events_.empty(); });
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  ends_ -= event.token < 0;
  return event;
}

void AnswerQueue::gather(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  gathering_ = true;
  wait(lock, until, [this] { return ends_ > 0; });
  gathering_ = false;
}

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options)
    : session_(std::move(model)),
      max_waiting_(options.max_waiting),
      failure_(std::make_shared<std::exception_ptr>()),
      stopped_(std::make_exception_ptr(Error(Code::kDevice, "the engine was stopped"))) {
  session_.on_step_times(options.on_step_times);
  if (options.cache) cache_.emplace(*options.cache, session_);
  scheduler_ = std::make_unique<Scheduler>(session_, cache_ ? &*cache_ : nullptr);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    fail(Code::kOutOfMemory, "the engine's thread cannot be started: {}; raise the limit of processes", error.what());
  }
}

Engine::~Engine() {
  stop();
  thread_.join();
}

std::optional<uint64_t> Engine::submit(Request request, std::shared_ptr<AnswerQueue> answers, size_t number) {
  const auto ticket = std::make_shared<Ticket>(std::move(answers), number, failure_);
  request.on_prompt = [ticket](int32_t id, std::span<const TokenLogprob> logprobs) {
    ticket->token(id, logprobs, /*prompt=*/true);
  };
  request.on_token = [ticket](int32_t id, std::span<const TokenLogprob> logprobs) {
    ticket->token(id, logprobs, /*prompt=*/false);
    return true;
  };
  request.on_done = [ticket](const GenerateResult& result, const std::exception_ptr& error) {
    ticket->end(result, error);
  };
  const std::lock_guard lock(mutex_);
  try {
    if (*failure_) std::rethrow_exception(*failure_);
    // Those that wait for no more than the next step count as running.
    const auto slots = static_cast<size_t>(session_.model().options().slots);
    if (scheduler_->waiting() + scheduler_->running() >= slots + max_waiting_) {
      ticket->forget();
      return std::nullopt;
    }
    const uint64_t id = scheduler_->submit(std::move(request));
    submitted_ = true;
    wake_.notify_one();
    return id;
  } catch (...) {
    ticket->forget();
    throw;
  }
}

void Engine::cancel(uint64_t id) noexcept {
  const std::lock_guard lock(mutex_);
  if (scheduler_) scheduler_->cancel(id);
}

void Engine::stop(std::exception_ptr why) noexcept {
  const std::lock_guard lock(mutex_);
  if (!stop_) stop_ = why ? std::move(why) : stopped_;
  wake_.notify_one();
}

size_t Engine::waiting() const {
  const std::lock_guard lock(mutex_);
  return scheduler_ ? scheduler_->waiting() : 0;
}

size_t Engine::running() const {
  const std::lock_guard lock(mutex_);
  return scheduler_ ? scheduler_->running() : 0;
}

std::string Engine::failure() const {
  const std::lock_guard lock(mutex_);
  return message_of(*failure_);
}

// Only this thread ever takes the scheduler away, so it may step it without the lock.
void Engine::run() {
  std::exception_ptr why;
  try {
    while (!why) {
      const bool busy = scheduler_->step();
      std::unique_lock lock(mutex_);
      if (!busy) wake_.wait(lock, [this] { return submitted_ || stop_; });
      submitted_ = false;
      why = stop_;
    }
  } catch (...) {
    why = std::current_exception();
    try {
      log::message(log::Level::kError, "the engine ends: {}", message_of(why));
    } catch (const std::exception&) {  // requests are told in any case
    }
  }
  std::unique_ptr<Scheduler> dropped;  // after the lock: requests that end tell their owners
  {
    const std::lock_guard lock(mutex_);
    *failure_ = std::move(why);
    dropped = std::move(scheduler_);
  }
}

}  // namespace v4rt
