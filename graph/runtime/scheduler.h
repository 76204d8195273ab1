#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "graph/runtime/generate.h"

namespace v4rt {

class PrefixCache;

// What one sequence is to be made of.
struct Request {
  std::vector<int32_t> prompt;
  GenerateOptions options;
  SamplerOptions sampler;
  std::string cache_space;  // prefixes are shared with requests of the same space only
  // The log-probabilities of the prompt's tokens from the second on, as `sampler` asks for them. All of the prompt is
  // then read, whatever a cache has of it, with logits after each token.
  bool prompt_logprobs = false;
  std::function<void(int32_t id, std::span<const TokenLogprob> logprobs)> on_prompt;
  // Of a token, with its log-probability and those of the likeliest where `sampler` asks for them. False cancels.
  std::function<bool(int32_t id, std::span<const TokenLogprob> logprobs)> on_token;
  // Once, at the end. `error` is set when the sequence failed; the others go on.
  std::function<void(const GenerateResult& result, const std::exception_ptr& error)> on_done;
};

// Runs many requests over the slots of one session. A step of the device takes one token of every sequence that
// decodes, and fills what is left of a chunk with prompts, in equal shares, so that no sequence waits for another's
// prompt longer than a chunk takes. When the model was opened for drafts, those that decode are guessed ahead, and have
// a step of their own. Requests begin in the order of submit(), as slots become free. What a request is
// answered does not depend on the others.
//
// submit() and cancel() may be called from any thread, also from callbacks; step() from one, which runs the callbacks.
class Scheduler {
 public:
  // The session's slots belong to the scheduler from now on. `cache` may be null; both must outlive this.
  explicit Scheduler(Session& session, PrefixCache* cache = nullptr);
  ~Scheduler();

  // Throws Error(kInvalidArgument) when the prompt is empty, longer than the context, or holds an id outside the
  // vocabulary, and for options that no sampler takes.
  uint64_t submit(Request request);
  void cancel(uint64_t id) noexcept;  // its result is kCancelled; of one that is over, nothing happens

  // Admits, runs one step of the device and hands on its tokens. False when there is nothing to do.
  bool step();

  size_t waiting() const;  // submitted and without a slot
  size_t running() const;

 private:
  struct Job;

  void admit();
  std::unique_ptr<Job> take_cancelled();  // of those that wait
  void plan_step();
  void guess();
  void run_step(std::span<Job* const> jobs, LogitsOf kind);
  std::span<const float> tell_prompt(const Job& job, std::span<const float> logits);
  void advance(Job& job, std::span<const float> logits);
  void finish(Job& job, StopReason reason, const std::exception_ptr& error = {});
  void store(const Job& job);

  Session& session_;
  PrefixCache* const cache_;
  const int64_t chunk_, context_;
  const int draft_;

  mutable std::mutex mutex_;  // guards what follows; step() alone changes slots_, and reads them without it
  std::deque<std::unique_ptr<Job>> waiting_;
  uint64_t next_id_ = 1;
  size_t n_running_ = 0;
  std::vector<std::unique_ptr<Job>> slots_;  // by slot; null: free

  // Of this step, with room for all slots: a step takes no memory but what a request ends by, where there is none.
  std::vector<Job*> readers_, tellers_, writers_, guessed_;  // tellers read, with log-probabilities
  std::vector<BatchItem> items_;
  std::vector<Session::DraftItem> drafts_;
  std::vector<TokenLogprob> logprobs_;
};

}  // namespace v4rt
