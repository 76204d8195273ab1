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
    sampler.begin(request.prompt);
  }

  bool reading() const { return fed < result.prompt_tokens; }
  bool tells_prompt() const { return request.prompt_logprobs && fed <= result.prompt_tokens; }
  bool ends(int32_t token) const {
    const std::vector<int32_t>& ends = request.options.end_tokens;
    return std::find(ends.begin(), ends.end(), token) != ends.end();
  }

  // The sequence keeps the first `n` tokens.
  void drop(int64_t n, Session& session) {
    session.rewind(fed - n, slot);
    fed = n;
    tokens.resize(static_cast<size_t>(n));
  }

  const uint64_t id;
  Request request;
  Sampler sampler;
  GenerateResult result;
  std::vector<int32_t> tokens;  // of the prompt and after it, and guesses while a step runs
  int64_t fed = 0;              // of them are in the sequence
  int64_t take = 0;             // of them go into the next step
  bool cancel_asked = false;    // by cancel(); guarded by the scheduler's mutex
  bool cancelled = false;
  bool admitted = false;  // to its slot, whose sequence is made ready then
  int slot = -1;
  Clock::time_point begin, read;
};

Scheduler::Scheduler(Session& session, PrefixCache* cache)
    : session_(session),
      cache_(cache),
      chunk_(session.model().options().chunk),
      context_(session.model().options().context),
      draft_(session.model().options().draft),
      slots_(static_cast<size_t>(session.model().options().slots)) {
  const auto rows = static_cast<int64_t>(slots_.size()) * (1 + draft_);
  check(rows <= chunk_, Code::kInvalidArgument,
        "{} sequences that decode take {} rows, and a chunk has {}; open the model with a longer chunk", slots_.size(),
        rows, chunk_);
  for (auto* const jobs : {&readers_, &tellers_, &writers_, &guessed_}) jobs->reserve(slots_.size());
  items_.reserve(slots_.size());
  drafts_.reserve(slots_.size());
}
Scheduler::~Scheduler() = default;

uint64_t Scheduler::submit(Request request) {
  session_.check_tokens(request.prompt);
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::make_unique<Job>(next_id_, std::move(request), session_.model().config().vocab_size));
  return next_id_++;
}

void Scheduler::cancel(uint64_t id) noexcept {
  const std::lock_guard lock(mutex_);
  const auto mark = [id](const std::unique_ptr<Job>& job) {
    if (job != nullptr && job->id == id) job->cancel_asked = true;
  };
  std::ranges::for_each(waiting_, mark);
  std::ranges::for_each(slots_, mark);
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
  const bool busy = !readers_.empty() || !tellers_.empty() || !writers_.empty();
  if (draft_ > 0) {
    guess();
    run_step(writers_, LogitsOf::kAllRows);
    run_step(readers_, LogitsOf::kLastRows);
  } else {
    writers_.insert(writers_.end(), readers_.begin(), readers_.end());
    run_step(writers_, LogitsOf::kLastRows);
  }
  run_step(tellers_, LogitsOf::kAllRows);
  return busy || waiting() > 0;
}

std::unique_ptr<Scheduler::Job> Scheduler::take_cancelled() {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(waiting_, [](const auto& job) { return job->cancel_asked; });
  if (found == waiting_.end()) return nullptr;
  std::unique_ptr<Job> job = std::move(*found);
  waiting_.erase(found);
  return job;
}

// Cancelled ones end here, whether they wait or run.
void Scheduler::admit() {
  while (const std::unique_ptr<Job> job = take_cancelled()) finish(*job, StopReason::kCancelled);
  {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i] != nullptr) {
        slots_[i]->cancelled |= slots_[i]->cancel_asked;
      } else if (!waiting_.empty()) {
        slots_[i] = std::move(waiting_.front());
        waiting_.pop_front();
        slots_[i]->slot = static_cast<int>(i);
        ++n_running_;
      }
    }
  }
  for (auto& job : slots_) {
    if (job != nullptr && job->cancelled) finish(*job, StopReason::kCancelled);
    if (job == nullptr || job->admitted) continue;
    job->admitted = true;
    job->begin = Clock::now();
    try {
      session_.reset(job->slot);
      if (cache_ != nullptr && !job->request.prompt_logprobs)
        job->fed = cache_->restore(session_, job->slot, job->tokens, job->request.cache_space);
      job->result.cached_tokens = job->fed;
    } catch (...) {
      finish(*job, StopReason::kCancelled, std::current_exception());
    }
  }
}

// A token for each that decodes; then prompts share the rest of the chunk, those that need less than their share
// leaving the others more. With a cache, pieces end at the end of a block, the last whole one too: there a beginning is
// kept that the same prompt finds again.
void Scheduler::plan_step() {
  readers_.clear();
  tellers_.clear();
  writers_.clear();
  for (const auto& job : slots_) {
    if (job == nullptr) continue;
    (job->reading() ? readers_ : writers_).push_back(job.get());
    job->take = 1;
  }
  int64_t left = draft_ > 0 ? chunk_ : chunk_ - static_cast<int64_t>(writers_.size());
  const auto rest = [](const Job* job) { return job->result.prompt_tokens - job->fed; };
  std::sort(readers_.begin(), readers_.end(), [&](const Job* a, const Job* b) { return rest(a) < rest(b); });
  for (size_t i = 0; i < readers_.size(); ++i) {
    Job& job = *readers_[i];
    job.take = std::min(rest(&job), left / static_cast<int64_t>(readers_.size() - i));
    const int64_t end = std::min(job.fed + job.take, job.result.prompt_tokens - 1) / kBlock * kBlock;
    if (cache_ != nullptr && end > job.fed) job.take = end - job.fed;
    left -= job.take;
  }
  std::erase_if(readers_, [](const Job* job) { return job->take == 0; });
  const auto tells = [](const Job* job) { return job->request.prompt_logprobs; };
  std::ranges::copy_if(readers_, std::back_inserter(tellers_), tells);
  std::erase_if(readers_, tells);
}

// What may come after the tokens of those that decode, as far as each has room.
void Scheduler::guess() {
  drafts_.clear();
  guessed_.clear();
  for (Job* job : writers_) {
    if (job->fed + draft_ >= context_) continue;
    drafts_.push_back({job->slot, job->tokens.back()});
    guessed_.push_back(job);
  }
  if (drafts_.empty()) return;
  std::span<const int32_t> guesses;
  try {
    guesses = session_.draft(drafts_, draft_);
  } catch (...) {
    for (Job* job : writers_) finish(*job, StopReason::kCancelled, std::current_exception());
    return writers_.clear();
  }
  for (size_t i = 0; i < guessed_.size(); ++i) {
    Job& job = *guessed_[i];
    const int64_t room = job.request.options.max_tokens - job.result.tokens - 1;
    const auto n = static_cast<size_t>(draft_);
    const auto mine = guesses.subspan(i * n, n);
    for (const int32_t guess : mine.first(job.sampler.possible(mine))) {
      if (guess < 0 || job.take > room) break;
      job.tokens.push_back(guess);
      ++job.take;
      ++job.result.drafted;
    }
  }
}

void Scheduler::run_step(std::span<Job* const> jobs, LogitsOf kind) {
  if (jobs.empty()) return;
  items_.clear();
  size_t rows = 0;
  for (const Job* job : jobs) {
    const auto next = std::span<const int32_t>(job->tokens).subspan(static_cast<size_t>(job->fed));
    items_.push_back({job->slot, next.first(static_cast<size_t>(job->take))});
    rows += kind == LogitsOf::kAllRows ? static_cast<size_t>(job->take) : 1;
  }
  std::span<const float> logits;
  std::exception_ptr error;
  try {
    logits = session_.feed_batch(items_, kind);
  } catch (...) {
    error = std::current_exception();
  }
  const size_t vocab = logits.size() / rows;
  for (Job* job : jobs) {
    if (error) {
      finish(*job, StopReason::kCancelled, error);
      continue;
    }
    const size_t mine = (kind == LogitsOf::kAllRows ? static_cast<size_t>(job->take) : 1) * vocab;
    job->fed += job->take;
    try {
      advance(*job, kind == LogitsOf::kAllRows && job->tells_prompt() ? tell_prompt(*job, logits.first(mine))
                                                                      : logits.first(mine));
    } catch (...) {
      finish(*job, StopReason::kCancelled, std::current_exception());
    }
    logits = logits.subspan(mine);
  }
}

// `logits` after each token of a prompt that was fed; returns those after the last.
std::span<const float> Scheduler::tell_prompt(const Job& job, std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(session_.model().config().vocab_size);
  const auto likeliest = static_cast<size_t>(job.request.sampler.logprobs.value_or(0));
  for (int64_t next = job.fed - job.take + 1; next < job.result.prompt_tokens && next <= job.fed; ++next) {
    const int32_t id = job.request.prompt[static_cast<size_t>(next)];
    write_logprobs(id, likeliest, logits.first(vocab), logprobs_);
    if (job.request.on_prompt) job.request.on_prompt(id, logprobs_);
    if (next < job.fed) logits = logits.subspan(vocab);
  }
  return logits.last(vocab);
}

// `logits` after the last token fed, or after each of the last ones, of which all but the first are guesses.
void Scheduler::advance(Job& job, std::span<const float> logits) {
  GenerateResult& result = job.result;
  if (job.fed <= result.prompt_tokens) store(job);
  if (job.reading()) return;
  const bool began = job.fed == result.prompt_tokens;
  if (began) {
    job.read = Clock::now();
    result.prefill_seconds = seconds_between(job.begin, job.read);
  }
  const GenerateOptions& options = job.request.options;
  const auto vocab = static_cast<size_t>(session_.model().config().vocab_size);
  for (size_t n = logits.size() / vocab, row = 0; row < n; ++row) {
    const auto mine = logits.subspan(row * vocab, vocab);
    const int64_t certain = job.fed - static_cast<int64_t>(n - 1 - row);
    const auto end = [&](StopReason reason) {
      job.drop(certain, session_);
      finish(job, reason);
    };
    if (!began) {
      ++result.tokens;
      result.decode_seconds = seconds_between(job.read, Clock::now());
      if (job.cancelled) return end(StopReason::kCancelled);
    }
    if (result.tokens >= options.max_tokens) {
      const bool over = !options.end_tokens.empty() && job.ends(job.sampler.peek(mine));
      return end(over ? StopReason::kEndToken : StopReason::kMaxTokens);
    }
    const int32_t id = job.sampler.sample(mine);
    const bool guessed = row + 1 < n && job.tokens[static_cast<size_t>(certain)] == id;
    if (job.ends(id)) return end(StopReason::kEndToken);
    if (!guessed && certain == context_) return end(StopReason::kContextFull);
    if (job.request.on_token && !job.request.on_token(id, job.sampler.logprobs())) job.cancelled = true;
    if (guessed) {
      ++result.accepted;
      continue;
    }
    job.drop(certain, session_);
    job.tokens.push_back(id);
    return;
  }
}

void Scheduler::store(const Job& job) {
  if (cache_ == nullptr) return;
  const auto fed = std::span<const int32_t>(job.tokens).first(static_cast<size_t>(job.fed));
  cache_->store(session_, job.slot, fed, job.request.cache_space);
}

void Scheduler::finish(Job& job, StopReason reason, const std::exception_ptr& error) {
  std::unique_ptr<Job> mine;
  if (job.slot >= 0) {
    if (!error && job.fed > job.result.prompt_tokens) store(job);
    const std::lock_guard lock(mutex_);
    mine = std::move(slots_[static_cast<size_t>(job.slot)]);
    --n_running_;
  }
  job.result.stop = reason;
  if (job.request.on_done) job.request.on_done(job.result, error);
}

}  // namespace v4rt
