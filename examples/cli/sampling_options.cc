#include "examples/cli/sampling_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt::cli {

void add_sampling(CLI::App& command, SamplingArguments& a) {
  command.add_option("--temperature", a.temperature, "0: always the likeliest token (default: 0)")
      ->transform(between(0.0, 100.0));
  command.add_option("--top-p", a.top_p, "Choose among the likeliest tokens of this total probability (default: 1)")
      ->transform(between(1e-6, 1.0));
  command.add_flag("--recommended-sampling", a.recommended,
                   "Temperature and top-p, where they are not given, as the checkpoint's generation_config.json "
                   "recommends ('v4rt inspect' shows them)");
  command.add_option("--seed", a.seed, "Of the choice, with a temperature above 0")
      ->transform(between(uint64_t{0}, UINT64_MAX))
      ->capture_default_str();
}

SamplerOptions sampler_options(const SamplingArguments& a, const Checkpoint& checkpoint) {
  std::optional<double> temperature = a.temperature, top_p = a.top_p;
  if (a.recommended) {
    check(checkpoint.generation.has_value(), Code::kNotFound,
          "--recommended-sampling: {} has no generation_config.json; give --temperature and --top-p",
          checkpoint.folder);
    const GenerationConfig& recommended = *checkpoint.generation;
    if (!temperature) temperature = recommended.temperature;
    if (!top_p) top_p = recommended.top_p;
    if (!recommended.not_applied.empty())
      say(escaped(fmt::format("generation_config.json: not applied: {}", fmt::join(recommended.not_applied, ", "))) +
          "\n");
  }
  const SamplerOptions defaults;
  const double chosen_temperature = temperature.value_or(defaults.temperature);
  const double chosen_top_p = top_p.value_or(defaults.top_p);
  if (a.recommended) say(fmt::format("temperature {}, top-p {}\n", chosen_temperature, chosen_top_p));
  return {static_cast<float>(chosen_temperature), static_cast<float>(chosen_top_p), a.seed};
}

}  // namespace v4rt::cli
