#include "graph/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "ops/core/error.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

template <class T>
void check_range(std::string_view option, T value, OptionRange<T> range) {
  check(value >= range.low && value <= range.high, Code::kInvalidArgument, "{} is {}; expected a number from {} to {}",
        option, value, range.low, range.high);
}

void check_id(std::string_view what, int32_t id, int64_t vocab_size) {
  check(id >= 0 && id < vocab_size, Code::kInvalidArgument, "{} names token {}; the vocabulary has {}", what, id,
        vocab_size);
}

void check_options(const SamplerOptions& o, int64_t vocab_size) {
  check(vocab_size > 0, Code::kInvalidArgument, "a vocabulary of {} tokens", vocab_size);
  check_range("temperature", o.temperature, kTemperatureRange);
  check_range("top_p", o.top_p, kTopPRange);
  check_range("top_k", o.top_k, kTopKRange);
  check_range("min_p", o.min_p, kMinPRange);
  check_range("repetition_penalty", o.repetition_penalty, kRepetitionRange);
  check_range("presence_penalty", o.presence_penalty, kPenaltyRange);
  check_range("frequency_penalty", o.frequency_penalty, kPenaltyRange);
  for (const auto& [id, bias] : o.logit_bias) {
    check_id("logit_bias", id, vocab_size);
    check_range("logit_bias", bias, kLogitBiasRange);
  }
  if (o.logprobs) check_range("logprobs", *o.logprobs, kLogprobsRange);
}

bool penalizes(const SamplerOptions& o) {
  return o.repetition_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0;
}

// What is not allowed can no longer be chosen.
void keep_allowed(std::span<const uint64_t> allowed, std::span<float> logits) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (size_t begin = 0; begin < logits.size(); begin += 64) {
    const uint64_t bits = allowed[begin / 64];
    if (bits == ~uint64_t{0}) continue;
    for (size_t i = begin; i < std::min(begin + 64, logits.size()); ++i)
      logits[i] = (bits >> (i - begin) & 1) != 0 ? logits[i] : kNever;
  }
}

bool likelier(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
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

}  // namespace

Sampler::Sampler(SamplerOptions options, int64_t vocab_size) : options_(std::move(options)) {
  check_options(options_, vocab_size);
  const auto size = static_cast<size_t>(vocab_size);
  state_.random.seed(options_.seed);
  if (penalizes(options_)) state_.uses.resize(size);
  if (options_.filter) filter_ = options_.filter();
  if (penalizes(options_) || !options_.logit_bias.empty() || filter_) adjusted_.resize(size);
  candidates_.reserve(size);
  probabilities_.resize(size);
  if (options_.logprobs) logprobs_.reserve(static_cast<size_t>(*options_.logprobs) + 1);
}

void Sampler::begin(std::span<const int32_t> prompt) {
  for (const int32_t id : prompt) check_id("a prompt", id, static_cast<int64_t>(probabilities_.size()));
  if (filter_) filter_->rewind(0);
  state_.filtered = 0;
  if (state_.uses.empty()) return;
  for (SamplerState::Use& use : state_.uses) use = {use.read || use.chosen > 0, 0};
  for (const int32_t id : prompt) state_.uses[static_cast<size_t>(id)].read = true;
}

void Sampler::forget() {
  if (filter_) filter_->rewind(0);
  state_.filtered = 0;
  std::ranges::fill(state_.uses, SamplerState::Use{});
}

int32_t Sampler::sample(std::span<const float> logits) {
  const int32_t id = choose(logits);
  accept(id, logits);
  return id;
}

int32_t Sampler::peek(std::span<const float> logits) {
  const std::mt19937_64 random = state_.random;
  const int32_t id = choose(logits);
  state_.random = random;
  return id;
}

int32_t Sampler::choose(std::span<const float> logits) {
  return options_.temperature == 0 ? static_cast<int32_t>(largest(adjust(logits))) : draw(probabilities(logits));
}

std::span<const float> Sampler::probabilities(std::span<const float> logits) {
  const std::span<const float> adjusted = adjust(logits);
  const size_t best = largest(adjusted);
  if (options_.temperature == 0 || std::isinf(adjusted[best])) {
    std::ranges::fill(probabilities_, 0.0f);
    probabilities_[best] = 1;
    return probabilities_;
  }
  collect(adjusted, adjusted[best]);
  keep_top_k();
  keep_top_p();
  double total = 0;  // in a fixed order: by id, or by falling weight
  for (const auto& [weight, id] : candidates_) total += weight;
  std::ranges::fill(probabilities_, 0.0f);
  for (const auto& [weight, id] : candidates_)
    probabilities_[static_cast<size_t>(id)] = static_cast<float>(static_cast<double>(weight) / total);
  return probabilities_;
}

void Sampler::check_size(std::span<const float> logits) const {
  check(logits.size() == probabilities_.size(), Code::kInvalidArgument, "{} logits for a vocabulary of {}",
        logits.size(), probabilities_.size());
}

// Filter, bias and penalties.
std::span<const float> Sampler::adjust(std::span<const float> logits) {
  check_size(logits);
  if (adjusted_.empty()) return logits;
  std::ranges::copy(logits, adjusted_.begin());
  if (filter_) keep_allowed(filter_->allowed(), adjusted_);
  for (const auto& [id, bias] : options_.logit_bias) adjusted_[static_cast<size_t>(id)] += bias;
  for (size_t i = 0; i < state_.uses.size(); ++i) {
    const auto [read, chosen] = state_.uses[i];
    if (!read && chosen == 0) continue;
    float& logit = adjusted_[i];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logit -= static_cast<float>(chosen) * options_.frequency_penalty;
    if (chosen > 0) logit -= options_.presence_penalty;
  }
  return adjusted_;
}

// What min_p keeps. A weight is a probability over the largest one; all are made first, in a loop without branches.
void Sampler::collect(std::span<const float> logits, float top) {
  for (size_t i = 0; i < logits.size(); ++i) probabilities_[i] = em_exp((logits[i] - top) / options_.temperature);
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (probabilities_[i] >= options_.min_p) candidates_.emplace_back(probabilities_[i], static_cast<int32_t>(i));
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::ranges::partial_sort(candidates_, candidates_.begin() + static_cast<ptrdiff_t>(k), likelier);
  candidates_.resize(k);
}

// Pops the likeliest off a heap, as many as it takes: they end up behind it.
void Sampler::keep_top_p() {
  if (options_.top_p == 1) return;
  double total = 0, mass = 0;
  for (const auto& [weight, id] : candidates_) total += weight;
  const auto less_likely = [](const Candidate& a, const Candidate& b) { return likelier(b, a); };
  std::ranges::make_heap(candidates_, less_likely);
  auto heap_end = candidates_.end();
  while (heap_end != candidates_.begin() && mass < total * options_.top_p) {
    std::pop_heap(candidates_.begin(), heap_end, less_likely);
    mass += (--heap_end)->first;
  }
  candidates_.erase(candidates_.begin(), heap_end);
}

int32_t Sampler::draw(std::span<const float> weights) {
  double total = 0;
  for (const float weight : weights) total += weight;
  check(total > 0, Code::kInvalidArgument, "there is nothing to draw from: the {} weights add up to {}", weights.size(),
        total);
  double left = uniform() * total;
  size_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    last = i;
    left -= weights[i];
    if (left < 0) break;
  }
  return static_cast<int32_t>(last);  // rounding may leave a little over: it is the last one's
}

double Sampler::uniform() { return static_cast<double>(state_.random() >> 11) * 0x1p-53; }

void Sampler::restore(const SamplerState& state) {
  if (filter_) filter_->rewind(state.filtered);
  state_ = state;
}

void Sampler::accept(int32_t id, std::span<const float> logits) {
  check_id("a choice", id, static_cast<int64_t>(probabilities_.size()));
  check_size(logits);
  if (filter_) {
    filter_->accept(id);
    state_.filtered = filter_->accepted();
  }
  if (!state_.uses.empty()) ++state_.uses[static_cast<size_t>(id)].chosen;
  if (options_.logprobs) write_logprobs(id, static_cast<size_t>(*options_.logprobs), logits, logprobs_);
}

void write_logprobs(int32_t id, size_t likeliest, std::span<const float> logits, std::vector<TokenLogprob>& logprobs) {
  const float top = logits[largest(logits)];
  double total = 0;
  for (const float logit : logits) total += em_exp(logit - top);
  const auto log_total = static_cast<float>(std::log(total));
  const auto entry = [&](int32_t i) { return TokenLogprob{i, logits[static_cast<size_t>(i)] - top - log_total}; };

  const auto above = [](const TokenLogprob& a, const TokenLogprob& b) { return a.logprob > b.logprob; };
  logprobs.assign(1, entry(id));
  for (size_t i = 0; likeliest > 0 && i < logits.size(); ++i) {
    const TokenLogprob candidate = entry(static_cast<int32_t>(i));
    if (logprobs.size() > likeliest) {
      if (!above(candidate, logprobs.back())) continue;
      logprobs.pop_back();
    }
    logprobs.insert(std::upper_bound(logprobs.begin() + 1, logprobs.end(), candidate, above), candidate);
  }
}

}  // namespace v4rt
