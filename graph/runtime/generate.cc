#include "graph/runtime/generate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

// The larger probability, the lower id on ties.
bool before(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

size_t largest(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    check(!std::isnan(logits[i]), Code::kCorrupt, "the logit of token {} is not a number", i);
    if (logits[i] > logits[best]) best = i;
  }
  return best;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options, int64_t vocab_size) : options_(options), random_(options.seed) {
  check(std::isfinite(options.temperature) && options.temperature >= 0, Code::kInvalidArgument,
        "temperature is {}: 0 or more", options.temperature);
  check(options.top_p > 0 && options.top_p <= 1, Code::kInvalidArgument, "top_p is {}: more than 0, at most 1",
        options.top_p);
  check(vocab_size > 0, Code::kInvalidArgument, "a vocabulary of {} tokens", vocab_size);
  scratch_.resize(static_cast<size_t>(vocab_size));
}

int32_t Sampler::sample(std::span<const float> logits) {
  check(logits.size() == scratch_.size(), Code::kInvalidArgument, "{} logits for a vocabulary of {}", logits.size(),
        scratch_.size());
  const size_t best = largest(logits);
  const float top = logits[best];
  if (options_.temperature == 0 || std::isinf(top)) return static_cast<int32_t>(best);

  double total = 0;  // of the probabilities, up to a common factor
  for (size_t i = 0; i < logits.size(); ++i) {
    const float weight = em_exp((logits[i] - top) / options_.temperature);
    scratch_[i] = {weight, static_cast<int32_t>(i)};
    total += weight;
  }
  // The order is fixed: by id if all tokens are kept, otherwise the kept ones by rising probability.
  const double uniform = static_cast<double>(random_() >> 11) * 0x1p-53;
  const auto kept =
      options_.top_p < 1 ? keep_most_probable(total) : std::span<const std::pair<float, int32_t>>(scratch_);
  double mass = 0;
  for (const auto& entry : kept) mass += entry.first;
  double left = uniform * mass;
  for (const auto& entry : kept) {
    left -= entry.first;
    if (left < 0) return entry.second;
  }
  return static_cast<int32_t>(best);  // rounding left a little over
}

int32_t Sampler::peek(std::span<const float> logits) {
  const std::mt19937_64 random = random_;
  const int32_t id = sample(logits);
  random_ = random;
  return id;
}

// The smallest set of most probable tokens with at least top_p of the mass: popped off a heap, they end up at the end
// of the scratch.
std::span<const std::pair<float, int32_t>> Sampler::keep_most_probable(double total) {
  const auto later = [](const auto& a, const auto& b) { return before(b, a); };
  std::make_heap(scratch_.begin(), scratch_.end(), later);
  auto end = scratch_.end();
  double mass = 0;
  while (end != scratch_.begin() && mass < total * options_.top_p) {
    std::pop_heap(scratch_.begin(), end--, later);
    mass += end->first;
  }
  return {end, scratch_.end()};
}

GenerateResult generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
                        Sampler& sampler, const std::function<bool(int32_t)>& on_token, int slot) {
  GenerateResult result{.prompt_tokens = static_cast<int64_t>(prompt.size())};
  const auto stopped = [&](StopReason reason) {
    result.stop = reason;
    return result;
  };
  const auto ends = [&](int32_t id) {
    return std::find(options.end_tokens.begin(), options.end_tokens.end(), id) != options.end_tokens.end();
  };
  auto start = std::chrono::steady_clock::now();
  std::span<const float> logits = session.feed(prompt, slot);
  result.prefill_seconds = seconds_since(start);
  if (logits.empty()) return stopped(StopReason::kCancelled);

  start = std::chrono::steady_clock::now();
  // What was fed last, of it `row` is the last token that is certain, and the logits after each. Those that follow are
  // guesses: the sampler decides, in the order and with the draws that it would without them.
  std::vector<int32_t> fed(1);
  size_t row = 0;
  const size_t vocab = logits.size();
  const auto drop_guesses = [&] { session.rewind(static_cast<int64_t>(fed.size() - 1 - row), slot); };
  const auto last = [&] { return logits.subspan(row * vocab, vocab); };
  const int64_t context = session.model().options().context;
  while (result.tokens < options.max_tokens) {
    const int32_t id = sampler.sample(last());
    const bool guessed = row + 1 < fed.size() && fed[row + 1] == id;
    if (!guessed || ends(id)) drop_guesses();
    if (ends(id)) return stopped(StopReason::kEndToken);
    if (!guessed && session.position(slot) == context) return stopped(StopReason::kContextFull);
    const bool go_on = !on_token || on_token(id);
    if (guessed) {
      ++row;
      ++result.accepted;
    } else {
      fed.assign(1, id);
      row = 0;
      const int64_t room = std::min(options.max_tokens - result.tokens, context - session.position(slot)) - 1;
      const int n = go_on ? static_cast<int>(std::min<int64_t>(options.draft, room)) : 0;
      if (n > 0) {
        const Session::DraftItem item{slot, id};
        for (const int32_t guess : session.draft({&item, 1}, n))
          if (guess >= 0) fed.push_back(guess);
        result.drafted += static_cast<int64_t>(fed.size()) - 1;
      }
      const BatchItem item{slot, fed};
      logits = session.feed_batch({&item, 1}, fed.size() > 1 ? LogitsOf::kAllRows : LogitsOf::kLastRows);
    }
    ++result.tokens;
    result.decode_seconds = seconds_since(start);
    if (!go_on) {
      drop_guesses();
      return stopped(StopReason::kCancelled);
    }
  }
  drop_guesses();
  return stopped(!options.end_tokens.empty() && ends(sampler.peek(last())) ? StopReason::kEndToken
                                                                           : StopReason::kMaxTokens);
}

}  // namespace v4rt
