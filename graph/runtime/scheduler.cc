#include "graph/runtime/scheduler.h"

#include <algorithm>
#include <chrono>

#include "graph/runtime/prefix_cache.h"

namespace v4rt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kBlock = PrefixCache::kBlock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

struct Scheduler::Job {
  Job(uint64_t number, Request asked, int64_t vocab)
      : id(number), request(std::move(asked)), sampler(request.sampler, vocab), tokens(request.prompt) {
    result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  }

  bool reading() const { return fed < result.prompt_tokens; }
  bool ends(int32_t token) const {
    const std::vector<int32_t>& ends = request.options.end_tokens;
    return std::find(ends.begin(), ends.end(), token) != ends.end();
  }

  const uint64_t id;
  Request request;
  Sampler sampler;
  GenerateResult result;
  std::vector<int32_t> tokens;  // of the prompt and after it; all but the last few are in the sequence
  int64_t fed = 0;              // of them are in the sequence
  int64_t take = 0;             // of them go into the next step
  bool cancelled = false;
  int slot = -1;
  Clock::time_point begin, read;
};

Scheduler::Scheduler(Session& session, PrefixCache* cache)
    : session_(session),
      cache_(cache),
      chunk_(session.model().options().chunk),
      context_(session.model().options().context),
      slots_(static_cast<size_t>(session.model().options().slots)) {
  items_.reserve(slots_.size());
}
Scheduler::~Scheduler() = default;

uint64_t Scheduler::submit(Request request) {
  session_.check_tokens(request.prompt);
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::make_unique<Job>(next_id_, std::move(request), session_.model().config().vocab_size));
  return next_id_++;
}

void Scheduler::cancel(uint64_t id) {
  const std::lock_guard lock(mutex_);
  cancelled_.insert(id);
}

size_t Scheduler::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

size_t Scheduler::running() const {
  const std::lock_guard lock(mutex_);
  return n_running_;
}

bool Scheduler::step() {
  admit();
  plan_step();
  if (!items_.empty()) run_step();
  return !items_.empty() || waiting() > 0;
}

// Cancelled ones end here, whether they wait or run.
void Scheduler::admit() {
  std::vector<std::unique_ptr<Job>> dropped, admitted;
  {
    const std::lock_guard lock(mutex_);
    for (auto& job : slots_) {
      if (job != nullptr && cancelled_.contains(job->id)) job->cancelled = true;
    }
    for (auto job = waiting_.begin(); job != waiting_.end();) {
      if (!cancelled_.contains((*job)->id)) {
        ++job;
        continue;
      }
      dropped.push_back(std::move(*job));
      job = waiting_.erase(job);
    }
    cancelled_.clear();
    for (size_t free = slots_.size() - n_running_; free > 0 && !waiting_.empty(); --free) {
      admitted.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  for (auto& job : dropped) finish(*job, StopReason::kCancelled);
  for (auto& job : slots_) {
    if (job != nullptr && job->cancelled) finish(*job, StopReason::kCancelled);
  }
  for (auto& job : admitted) {
    const auto slot = std::find(slots_.begin(), slots_.end(), nullptr);
    job->slot = static_cast<int>(slot - slots_.begin());
    job->begin = Clock::now();
    session_.reset(job->slot);
    if (cache_ != nullptr) job->fed = cache_->restore(session_, job->slot, job->tokens, job->request.cache_space);
    job->result.cached_tokens = job->fed;
    *slot = std::move(job);
    const std::lock_guard lock(mutex_);
    ++n_running_;
  }
}

// A token for each that decodes; then prompts share the rest of the chunk, those that need less than their share
// leaving the others more. With a cache, pieces end at the end of a block, the last whole one too: there a beginning is
// kept that the same prompt finds again.
void Scheduler::plan_step() {
  std::vector<Job*> readers;
  int64_t left = chunk_;
  for (const auto& job : slots_) {
    if (job == nullptr) continue;
    job->take = 0;
    if (job->reading()) {
      readers.push_back(job.get());
    } else {
      job->take = 1;
      --left;
    }
  }
  const auto rest = [](const Job* job) { return job->result.prompt_tokens - job->fed; };
  std::sort(readers.begin(), readers.end(), [&](const Job* a, const Job* b) { return rest(a) < rest(b); });
  for (size_t i = 0; i < readers.size(); ++i) {
    Job& job = *readers[i];
    job.take = std::min(rest(&job), left / static_cast<int64_t>(readers.size() - i));
    const int64_t end = std::min(job.fed + job.take, job.result.prompt_tokens - 1) / kBlock * kBlock;
    if (cache_ != nullptr && end > job.fed) job.take = end - job.fed;
    left -= job.take;
  }
  items_.clear();
  for (const auto& job : slots_) {
    if (job == nullptr || job->take == 0) continue;
    const auto next = std::span<const int32_t>(job->tokens).subspan(static_cast<size_t>(job->fed));
    items_.push_back({job->slot, next.first(static_cast<size_t>(job->take))});
  }
}

void Scheduler::run_step() {
  std::span<const float> logits;
  std::exception_ptr error;
  try {
    logits = session_.feed_batch(items_);
  } catch (...) {
    error = std::current_exception();
  }
  const size_t vocab = logits.size() / items_.size();
  for (size_t i = 0; i < items_.size(); ++i) {
    Job& job = *slots_[static_cast<size_t>(items_[i].slot)];
    if (error) {
      finish(job, StopReason::kCancelled, error);
      continue;
    }
    job.fed += job.take;
    try {
      advance(job, logits.subspan(i * vocab, vocab));
    } catch (...) {
      finish(job, StopReason::kCancelled, std::current_exception());
    }
  }
}

void Scheduler::advance(Job& job, std::span<const float> logits) {
  GenerateResult& result = job.result;
  if (job.fed <= result.prompt_tokens) store(job);
  if (job.reading()) return;
  if (job.fed == result.prompt_tokens) {
    job.read = Clock::now();
    result.prefill_seconds = seconds_between(job.begin, job.read);
  } else {
    ++result.tokens;
    result.decode_seconds = seconds_between(job.read, Clock::now());
    if (job.cancelled) return finish(job, StopReason::kCancelled);
  }
  const GenerateOptions& options = job.request.options;
  if (result.tokens >= options.max_tokens) {
    const bool over = !options.end_tokens.empty() && job.ends(job.sampler.peek(logits));
    return finish(job, over ? StopReason::kEndToken : StopReason::kMaxTokens);
  }
  const int32_t id = job.sampler.sample(logits);
  if (job.ends(id)) return finish(job, StopReason::kEndToken);
  if (job.fed == context_) return finish(job, StopReason::kContextFull);
  if (job.request.on_token && !job.request.on_token(id)) job.cancelled = true;
  job.tokens.push_back(id);
}

void Scheduler::store(const Job& job) {
  if (cache_ == nullptr) return;
  const auto fed = std::span<const int32_t>(job.tokens).first(static_cast<size_t>(job.fed));
  cache_->store(session_, job.slot, fed, job.request.cache_space);
}

void Scheduler::finish(Job& job, StopReason reason, std::exception_ptr error) {
  std::unique_ptr<Job> mine;
  if (job.slot >= 0) {
    if (!error && job.fed > job.result.prompt_tokens) store(job);
    mine = std::move(slots_[static_cast<size_t>(job.slot)]);
    const std::lock_guard lock(mutex_);
    --n_running_;
  }
  job.result.stop = reason;
  if (job.request.on_done) job.request.on_done(job.result, error);
}

}  // namespace v4rt
