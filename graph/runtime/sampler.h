#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "graph/runtime/token_filter.h"

namespace v4rt {

// How the next token is chosen. The steps are those of vLLM, in this order; each works on what the one before left, and
// an option at its default does nothing:
//
//   filter               what it does not allow has no probability
//   logit_bias           added to the logits of the tokens it names
//   repetition_penalty   of every token that was read or chosen: a positive logit is divided by it, others multiplied
//   frequency_penalty    taken from a logit as often as its token was chosen
//   presence_penalty     taken from a logit once if its token was chosen
//   temperature          0: the largest logit, the lowest id on ties, and that is all. Otherwise the logits are divided
//   softmax              by it and become probabilities
//   min_p                keeps tokens of at least this share of the largest probability
//   top_k                keeps the likeliest k of those, the lower ids on ties
//   top_p                keeps the fewest of those, likeliest first, that together have this share of their sum
//   draw                 among what is kept, by a generator whose numbers depend on the seed alone
//
// llama.cpp's own order is top_k, top_p, min_p, and the temperature last, so that no filter sees it; its penalties look
// at the last 64 tokens, those of the prompt among them.
struct SamplerOptions {
  float temperature = 0;
  float top_p = 1;
  uint64_t seed = 0;
  int32_t top_k = 0;  // 0: all
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // {id, bias}
  std::optional<int32_t> logprobs = {};  // keep the log-probabilities of the chosen token and of this many likeliest
  // Makes what each text of these options is held to.
  std::function<std::unique_ptr<TokenFilter>()> filter = {};
};

// What the options may be.
template <class T>
struct OptionRange {
  T low, high;
};
inline constexpr OptionRange<float> kTemperatureRange{0, 100};
inline constexpr OptionRange<float> kTopPRange{1e-6f, 1};
inline constexpr OptionRange<int32_t> kTopKRange{0, INT32_MAX};
inline constexpr OptionRange<float> kMinPRange{0, 1};
inline constexpr OptionRange<float> kRepetitionRange{1e-2f, 100};
inline constexpr OptionRange<float> kPenaltyRange{-2, 2};  // presence and frequency
inline constexpr OptionRange<float> kLogitBiasRange{-100, 100};
inline constexpr OptionRange<int32_t> kLogprobsRange{0, 20};

struct TokenLogprob {
  int32_t id;
  float logprob;  // natural logarithm of the model's own probability: before every step above
};

// Of token `id`, and after it the `likeliest` that these logits make likeliest, in falling order.
void write_logprobs(int32_t id, size_t likeliest, std::span<const float> logits, std::vector<TokenLogprob>& logprobs);

// What a sampler's choices depend on beside options and logits. A copy, restored later, brings back the same choices.
struct SamplerState {
  struct Use {
    bool read = false;   // a token of a prompt, or chosen before the last one
    int32_t chosen = 0;  // times since then
  };
  std::mt19937_64 random;
  std::vector<Use> uses;  // by id; empty when no penalty is set
  size_t filtered = 0;    // tokens that the filter has accepted
};

// Allocates nothing after it was made. What takes logits throws Error: kInvalidArgument for a wrong number of them,
// kCorrupt naming the token whose logit is not a number.
class Sampler {
 public:
  Sampler(SamplerOptions options, int64_t vocab_size);  // throws Error naming the option, its value and its range

  // A text begins with these tokens, or goes on with them: for the penalties, they and what was chosen so far are from
  // now on a prompt, and the filter expects its beginning. generate() does it.
  void begin(std::span<const int32_t> prompt);
  void forget();  // what was read and chosen; the generator goes on
  // Chooses a token and accepts it.
  int32_t sample(std::span<const float> logits);
  // What sample() would return now; changes nothing.
  int32_t peek(std::span<const float> logits);

  // sample() in parts, for those who let another model propose. The distribution that it draws from: probabilities by
  // id, 0 for what is not kept. Valid until the next call that takes logits.
  std::span<const float> probabilities(std::span<const float> logits);
  // An id with a probability in proportion to its weight; the weights are not negative, and not all 0.
  int32_t draw(std::span<const float> weights);
  double uniform();  // the generator's next number in [0, 1)
  // Takes the token as chosen, whoever chose it: penalties and the filter count it, and logprobs() are of it.
  void accept(int32_t id, std::span<const float> logits);

  // Of the token accepted last: it, then the likeliest in falling order. Empty unless options.logprobs.
  std::span<const TokenLogprob> logprobs() const { return logprobs_; }

  // How many of these tokens could be chosen one after the other, as far as the filter is concerned.
  size_t possible(std::span<const int32_t> ids) { return filter_ ? filter_->possible(ids) : ids.size(); }

  const SamplerState& state() const { return state_; }
  // Of a sampler with the same options; with a filter, an earlier state of this one, since begin().
  void restore(const SamplerState& state);

 private:
  using Candidate = std::pair<float, int32_t>;  // weight, id

  void check_size(std::span<const float> logits) const;
  int32_t choose(std::span<const float> logits);
  std::span<const float> adjust(std::span<const float> logits);
  void collect(std::span<const float> logits, float top);
  void keep_top_k();
  void keep_top_p();

  SamplerOptions options_;
  SamplerState state_;
  std::unique_ptr<TokenFilter> filter_;
  std::vector<float> adjusted_;        // logits after filter, bias and penalties; empty when there are none
  std::vector<Candidate> candidates_;  // that are kept
  std::vector<float> probabilities_;
  std::vector<TokenLogprob> logprobs_;
};

}  // namespace v4rt
