#include "graph/runtime/engine.h"

#include <utility>

#include "ops/core/log.h"

namespace v4rt {
namespace {

// One request's end of an AnswerQueue. A request that is dropped without a word, because the scheduler threw or is no
// more, still ends: the last copy of its callbacks takes this with it.
class Ticket {
 public:
  Ticket(std::shared_ptr<AnswerQueue> answers, size_t number) : answers_(std::move(answers)), number_(number) {}
  ~Ticket() {
    if (over_) return;
    end({.stop = StopReason::kCancelled},
        std::make_exception_ptr(Error(Code::kDevice, "the engine stopped before the answer was complete")));
  }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  void token(int32_t id, std::span<const TokenLogprob> logprobs) {
    answers_->push({.request = number_, .token = id, .logprobs = {logprobs.begin(), logprobs.end()}});
  }
  void end(const GenerateResult& result, const std::exception_ptr& error) {
    over_ = true;
    answers_->push({.request = number_, .result = result, .error = error});
  }
  void forget() { over_ = true; }  // it was not taken

 private:
  const std::shared_ptr<AnswerQueue> answers_;
  const size_t number_;
  bool over_ = false;
};

}  // namespace

void AnswerQueue::push(Event event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  came_.notify_one();
}

std::optional<AnswerQueue::Event> AnswerQueue::pop(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  if (!came_.wait_until(lock, until, [this] { return !events_.empty(); })) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options)
    : session_(std::move(model)), max_waiting_(options.max_waiting) {
  if (options.cache) cache_.emplace(*options.cache, session_);
  scheduler_.emplace(session_, cache_ ? &*cache_ : nullptr);
  thread_ = std::thread([this] { run(); });
}

Engine::~Engine() {
  stop();
  thread_.join();
}

std::optional<uint64_t> Engine::submit(Request request, std::shared_ptr<AnswerQueue> answers, size_t number) {
  const auto ticket = std::make_shared<Ticket>(std::move(answers), number);
  request.on_token = [ticket](int32_t id, std::span<const TokenLogprob> logprobs) {
    ticket->token(id, logprobs);
    return true;
  };
  request.on_done = [ticket](const GenerateResult& result, const std::exception_ptr& error) {
    ticket->end(result, error);
  };
  const std::lock_guard lock(mutex_);
  try {
    check(failure_.empty(), Code::kDevice, "{}", failure_);
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

void Engine::cancel(uint64_t id) {
  const std::lock_guard lock(mutex_);
  if (scheduler_) scheduler_->cancel(id);
}

void Engine::stop() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
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
  return failure_;
}

// Only this thread ever takes the scheduler away, so it may step it without the lock.
void Engine::run() {
  try {
    while (true) {
      const bool busy = scheduler_->step();
      std::unique_lock lock(mutex_);
      if (!busy) wake_.wait(lock, [this] { return submitted_ || stop_; });
      submitted_ = false;
      if (stop_) break;
    }
    close("the engine was stopped");
  } catch (const std::exception& error) {
    log::message(log::Level::kError, "the engine ends: {}", error.what());
    close(error.what());
  }
}

void Engine::close(std::string why) {
  const std::lock_guard lock(mutex_);
  failure_ = std::move(why);
  scheduler_.reset();
}

}  // namespace v4rt
