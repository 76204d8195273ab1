#include "loaders/checkpoint/generation_config.h"

#include <algorithm>

#include "loaders/files/file_source.h"
#include "loaders/files/json_fields.h"
#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

// Settings that change which token is chosen, each with the value at which it has no effect.
struct Setting {
  std::string_view key;
  double neutral;
};
constexpr Setting kUnknownHere[] = {
    {"typical_p", 1},      {"epsilon_cutoff", 0}, {"eta_cutoff", 0}, {"num_beams", 1}, {"no_repeat_ngram_size", 0},
    {"min_new_tokens", 0}, {"min_length", 0},
};

std::optional<double> optional_number(const Fields& f, std::string_view key, double min, double max) {
  if (f.find(key) == nullptr) return std::nullopt;
  return f.number(key, min, max);
}

}  // namespace

GenerationConfig parse_generation_config(std::string_view text, std::string_view source, int64_t vocab_size) {
  const Json object = parse_json(text, source);
  const Fields f(object, std::string(source));
  GenerationConfig config;
  config.eos_token_ids = f.token_ids("eos_token_id", vocab_size);
  config.temperature = optional_number(f, "temperature", 0, 100);
  config.top_p = optional_number(f, "top_p", 1e-6, 1);
  config.min_p = optional_number(f, "min_p", 0, 1);
  config.repetition_penalty = optional_number(f, "repetition_penalty", 1e-2, 100);
  // Some write -1 for all.
  if (f.find("top_k") != nullptr) config.top_k = std::max<int64_t>(f.integer("top_k", -1, INT32_MAX), 0);
  const Json* sampled = f.find("do_sample");
  if (sampled != nullptr && *sampled == false) config.temperature = 0;
  for (const auto& [key, neutral] : kUnknownHere) {
    const Json* value = f.find(key);
    if (value != nullptr && *value != neutral) config.not_applied.push_back(fmt::format("{} = {}", key, shown(*value)));
  }
  return config;
}

std::optional<GenerationConfig> read_generation_config(const FileSource& files, int64_t vocab_size) {
  constexpr std::string_view kName = "generation_config.json";
  if (!files.has(kName)) return std::nullopt;
  return parse_generation_config(text_of(*files.open(kName), size_t{1} << 20), files.path(kName), vocab_size);
}

}  // namespace v4rt
