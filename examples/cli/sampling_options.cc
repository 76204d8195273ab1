#include "examples/cli/sampling_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "examples/cli/command.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

template <class T>
CLI::Validator within(const OptionRange<T>& range) {
  return between(range.low, range.high);
}

// "15=-2.5"
std::pair<int32_t, float> parse_bias(const std::string& text, int64_t vocab_size) {
  int32_t id = 0;
  float bias = 0;
  const char* const end = text.data() + text.size();
  const auto [equals, bad_id] = std::from_chars(text.data(), end, id);
  bool ok = bad_id == std::errc() && id >= 0 && id < vocab_size && equals != end && *equals == '=';
  if (ok) {
    const auto [stop, bad_bias] = std::from_chars(equals + 1, end, bias);
    ok = bad_bias == std::errc() && stop == end && bias >= kLogitBiasRange.low && bias <= kLogitBiasRange.high;
  }
  if (!ok)
    throw UsageError(fmt::format("--logit-bias {}: expected ID=BIAS, a token from 0 to {} and a number from {} to {}",
                                 text, vocab_size - 1, kLogitBiasRange.low, kLogitBiasRange.high));
  return {id, bias};
}

// What is not given as the checkpoint recommends it.
void recommend(SamplingArguments& a, const Checkpoint& checkpoint) {
  check(checkpoint.generation.has_value(), Code::kNotFound,
        "--recommended-sampling: {} has no generation_config.json; give --temperature and --top-p", checkpoint.folder);
  const GenerationConfig& recommended = *checkpoint.generation;
  if (!a.temperature) a.temperature = recommended.temperature;
  if (!a.top_p) a.top_p = recommended.top_p;
  if (!a.min_p) a.min_p = recommended.min_p;
  if (!a.repetition_penalty) a.repetition_penalty = recommended.repetition_penalty;
  if (!a.top_k) a.top_k = recommended.top_k;
  if (!recommended.not_applied.empty())
    say(escaped(fmt::format("generation_config.json: not applied: {}", fmt::join(recommended.not_applied, ", "))) +
        "\n");
}

}  // namespace

void add_sampling(CLI::App& command, SamplingArguments& a) {
  command.add_option("--temperature", a.temperature, "0: always the likeliest token (default: 0)")
      ->transform(within(kTemperatureRange));
  command.add_option("--top-k", a.top_k, "Choose among this many of the likeliest tokens; 0: all (default: 0)")
      ->transform(within(kTopKRange));
  command.add_option("--top-p", a.top_p, "Choose among the likeliest tokens of this total probability (default: 1)")
      ->transform(within(kTopPRange));
  command.add_option("--min-p", a.min_p, "And among those of at least this share of the likeliest one's (default: 0)")
      ->transform(within(kMinPRange));
  command
      .add_option("--repetition-penalty", a.repetition_penalty,
                  "Makes tokens of the prompt and the text less likely: their logits are divided by it, negative ones "
                  "multiplied (default: 1)")
      ->transform(within(kRepetitionRange));
  command
      .add_option("--presence-penalty", a.presence_penalty, "Taken from the logits of tokens that the text has so far")
      ->transform(within(kPenaltyRange))
      ->capture_default_str();
  command.add_option("--frequency-penalty", a.frequency_penalty, "The same, as often as the text has the token")
      ->transform(within(kPenaltyRange))
      ->capture_default_str();
  command.add_option("--logit-bias", a.logit_bias, "ID=BIAS: added to a token's logit, -100 to 100; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--seed", a.seed, "Of the choice, with a temperature above 0")
      ->transform(between(uint64_t{0}, UINT64_MAX))
      ->capture_default_str();
  command.add_flag("--recommended-sampling", a.recommended,
                   "Temperature, top-p, top-k, min-p and repetition penalty, where they are not given, as the "
                   "checkpoint's generation_config.json recommends ('v4rt inspect' shows them)");
  command
      .add_option("--stop", a.stop,
                  "End the text before this string, wherever tokens begin and end; may be repeated. Counts and ids "
                  "have the tokens that it came in")
      ->check(nonempty("string"))
      ->allow_extra_args(false);
}

SamplerOptions sampler_options(const SamplingArguments& arguments, const Checkpoint& checkpoint) {
  SamplingArguments a = arguments;
  if (a.recommended) recommend(a, checkpoint);
  SamplerOptions options;
  options.temperature = a.temperature.value_or(options.temperature);
  options.top_p = a.top_p.value_or(options.top_p);
  options.top_k = a.top_k.value_or(options.top_k);
  options.min_p = a.min_p.value_or(options.min_p);
  options.repetition_penalty = a.repetition_penalty.value_or(options.repetition_penalty);
  options.presence_penalty = a.presence_penalty;
  options.frequency_penalty = a.frequency_penalty;
  options.seed = a.seed;
  for (const std::string& bias : a.logit_bias)
    options.logit_bias.push_back(parse_bias(bias, checkpoint.weights->config().vocab_size));
  if (a.recommended)
    say(fmt::format("temperature {}, top-k {}, top-p {}, min-p {}, repetition penalty {}\n", options.temperature,
                    options.top_k, options.top_p, options.min_p, options.repetition_penalty));
  return options;
}

}  // namespace v4rt::cli
