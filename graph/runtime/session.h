#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "graph/runtime/model.h"

namespace v4rt {

// A sequence outside any session: its position and the bytes of its state.
struct Snapshot {
  int64_t position = 0;
  // A mark of the weights and of the layout of states (16 bytes), then the live rows of every state, in plan order.
  std::vector<std::byte> bytes;
};

// What one segment of a batched step asks for.
struct BatchItem {
  int slot = 0;
  std::span<const int32_t> tokens;
};

// The running state of `slots` sequences: state buffers, arenas, queues. Used from one thread at a time; many sessions
// share one Model. Nothing is allocated while tokens flow. An Error leaves the session's positions and state as they
// were, unless the device itself failed, or logits were not finite: Error(kCorrupt) names the position and the token,
// and the sequences of the step hold what they were fed until they are reset or restored.
class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model);
  ~Session();

  // Appends tokens to sequence `slot` in chunks and returns the logits [V] after the last one, valid until the next
  // call. Throws Error(kInvalidArgument): no tokens, an id outside the vocabulary, more than the context holds.
  std::span<const float> feed(std::span<const int32_t> tokens, int slot = 0);

  // As feed, and hands over the logits of every position: row(i, logits [V], mtp_logits [V] or empty) for token i of
  // `tokens`. mtp_logits of row i come from the streams at i and token i + 1, so the last row has none; the block keeps
  // state that only score() fills, so there are any only when the sequence was empty before.
  using RowFn = std::function<void(int64_t i, std::span<const float> logits, std::span<const float> mtp_logits)>;
  void score(std::span<const int32_t> tokens, const RowFn& row, int slot = 0);

  // One step over several sequences at once: each item's tokens (together at most one chunk) are appended to its slot.
  // Returns logits [items, V]. A sequence's logits are the same bits whatever shares the step.
  std::span<const float> feed_batch(std::span<const BatchItem> items);

  // Called between chunks of a long feed: tokens done, tokens in all. Return false to stop: feed throws nothing and
  // returns an empty span, having kept what it read.
  void on_progress(std::function<bool(int64_t done, int64_t total)> fn);

  // While set, a plan waits for each step before the next begins, and after each run `fn` gets the times: seconds[i] of
  // plan.steps[i]. Slower than a normal run, because nothing overlaps; the results are the same. Empty: normal runs.
  using StepTimesFn = std::function<void(const Plan& plan, const Step& step, std::span<const double> seconds)>;
  void on_step_times(StepTimesFn fn);

  int64_t position(int slot = 0) const;
  void reset(int slot = 0);
  Snapshot snapshot(int slot = 0) const;
  void restore(const Snapshot& snapshot, int slot = 0);  // throws Error when it is of other weights or another context

  const Model& model() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v4rt
