#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "graph/runtime/model.h"
#include "graph/runtime/snapshot.h"
#include "ops/core/bytes.h"

namespace v4rt {

// What one segment of a batched step asks for.
struct BatchItem {
  int slot = 0;
  std::span<const int32_t> tokens;
  OpenclIds on_device = {};  // in place of `tokens`: read once they are there, which the host need not wait for

  int64_t n_tokens() const { return on_device.n > 0 ? on_device.n : static_cast<int64_t>(tokens.size()); }
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

  // The same, with the logits left where they are made, f32 [1, V], and not waited for: for programs that go on with
  // them on the device (backend/registry.h: opencl_range). Valid until the next call; no memory when on_progress()
  // stopped it. Whether they are finite is not looked at.
  Tensor feed_on_device(std::span<const int32_t> tokens, int slot = 0);

  // As feed, and hands over the logits of every position: row(i, logits [V], mtp_logits [V] or empty) for token i of
  // `tokens`. mtp_logits of row i come from the streams at i and token i + 1, so the last row has none; the block keeps
  // state that only score() fills, so there are any only when the sequence was empty before.
  using RowFn = std::function<void(int64_t i, std::span<const float> logits, std::span<const float> mtp_logits)>;
  void score(std::span<const int32_t> tokens, const RowFn& row, int slot = 0);

  // One step over several sequences at once: each item's tokens (together at most one chunk) are appended to its slot.
  // Returns logits after the last token of each, [items, V], or of all tokens, [tokens, V]. A sequence's logits are the
  // same bits whatever shares the step.
  //
  // Ids on a device are read from memory of the host's OpenCL context (ModelOptions::device_options.host_opencl). What
  // is none of the vocabulary's counts as token 0, and the call throws Error(kInvalidArgument): the sequences of the
  // step then hold it so, and are to be truncated, reset or restored. Throws Error(kUnsupported) where the model was
  // opened for drafts, which need to know the tokens, or reads ids on another device too.
  std::span<const float> feed_batch(std::span<const BatchItem> items, LogitsOf logits = LogitsOf::kLastRows);

  // The same with the logits left where they are made, f32 [items, V], as of feed_on_device(). Of ids on a device it
  // waits until they were read, which is before the step is done.
  Tensor feed_batch_on_device(std::span<const BatchItem> items);

  // Guesses the tokens that follow `next`, which comes next in its sequence and has not been fed: `n` of them, at most
  // ModelOptions::draft, by the MTP block and by its own output from the second on; the likeliest each time. Returns
  // [items, n], valid until the next call; -1 where there is nothing to go by, as after restore(). The sequences stay
  // as they are.
  struct DraftItem {
    int slot = 0;
    int32_t next = 0;
  };
  std::span<const int32_t> draft(std::span<const DraftItem> items, int n);

  // Called by feed() of more than one token: after each chunk but the last, and after each layer of a chunk but its
  // last, when its tokens count in part. Tokens done, tokens in all. Return false to stop: feed throws nothing and
  // returns an empty span, having kept the chunks that it has read to their end. Other devices than the cpu take
  // longer, for they are waited for.
  void on_progress(std::function<bool(int64_t done, int64_t total)> fn);

  // While set, a plan waits for each step before the next begins, and after each run `fn` gets the times: seconds[i] of
  // plan.steps[i]. Slower than a normal run, because nothing overlaps; the results are the same. Empty: normal runs.
  using StepTimesFn = std::function<void(const Plan& plan, const Step& step, std::span<const double> seconds)>;
  void on_step_times(StepTimesFn fn);

  void finish();  // waits for what feed_on_device() has begun
  int64_t position(int slot = 0) const;
  void reset(int slot = 0);

  // The sequence forgets the tokens from `position` on. It can go back to where it began, by ModelOptions::rewind
  // positions from the furthest it has been, and to its checkpoints. Throws Error(kInvalidArgument) naming what there
  // is.
  void truncate(int64_t position, int slot = 0);
  void rewind(int64_t n, int slot = 0) { truncate(this->position(slot) - n, slot); }
  // Keeps what it takes to come back to this position: of V4-Flash 3 MB, and up to 10 more between multiples of 128.
  // Until it is dropped, or the sequence is truncated before it, reset, or restored.
  void checkpoint(int slot = 0);
  void drop_checkpoint(int64_t position, int slot = 0);
  std::vector<int64_t> checkpoints(int slot = 0) const;  // ascending

  // Sequence `to` becomes a copy of `from`, checkpoints included; made on the devices. The compressed entries are the
  // same memory until one of the two writes others there, but on devices of others' that do not share
  // (backend/state_memory.h). Throws Error(kOutOfMemory): `to` is empty.
  void fork(int from, int to);

  Snapshot snapshot(int slot = 0) const;
  // Throws Error, having changed nothing, when it is damaged, of other weights or numbers, or longer than the context.
  void restore(const Snapshot& snapshot, int slot = 0);

  // A sequence in parts, for caches that share them: the compressed entries that positions [begin, end) complete, which
  // never change; and a tail, what is left when the positions before `begin` are cut off.
  Bytes entries(int64_t begin, int64_t end, int slot = 0) const;
  Bytes tail(int64_t begin, int slot = 0) const;
  // A sequence of `position` tokens of entries(0, block), entries(block, 2 * block) .. and the tail after them. Throws
  // Error(kCorrupt), having changed nothing, when a part has not the size that it should.
  void assemble(int64_t position, int64_t block, std::span<const std::span<const std::byte>> entries,
                std::span<const std::byte> tail, int slot = 0);
  Hash mark() const;  // of weights and numbers: sequences of sessions with the same mark can be exchanged

  // Throws the errors of feed() to an empty sequence.
  void check_tokens(std::span<const int32_t> tokens) const;

  const Model& model() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v4rt
