#include "loaders/checkpoint/generation_config.h"

#include <filesystem>

#include "loaders/checkpoint/json_fields.h"
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
    {"top_k", 0},          {"min_p", 0},      {"typical_p", 1},          {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},     {"num_beams", 1},  {"repetition_penalty", 1}, {"no_repeat_ngram_size", 0},
    {"min_new_tokens", 0}, {"min_length", 0},
};

std::optional<double> optional_number(const Fields& f, std::string_view key, double min, double max) {
  if (f.find(key) == nullptr) return std::nullopt;
  return f.number(key, min, max);
}

}  // namespace

GenerationConfig parse_generation_config(std::string_view text, std::string_view source, int64_t vocab_size) {
  const nlohmann::json object = parse_json(text, source);
  const Fields f(object, std::string(source));
  GenerationConfig config;
  config.eos_token_ids = f.token_ids("eos_token_id", vocab_size);
  config.temperature = optional_number(f, "temperature", 0, 100);
  config.top_p = optional_number(f, "top_p", 1e-6, 1);
  const nlohmann::json* sampled = f.find("do_sample");
  if (sampled != nullptr && *sampled == false) config.temperature = 0;
  for (const auto& [key, neutral] : kUnknownHere) {
    const nlohmann::json* value = f.find(key);
    if (value != nullptr && *value != neutral) config.not_applied.push_back(fmt::format("{} = {}", key, shown(*value)));
  }
  return config;
}

std::optional<GenerationConfig> read_generation_config(const std::string& folder, int64_t vocab_size) {
  const std::string path = (std::filesystem::path(folder) / "generation_config.json").string();
  try {
    return parse_generation_config(read_text_file(path, size_t{1} << 20), path, vocab_size);
  } catch (const Error& e) {
    if (e.code() == Code::kNotFound) return std::nullopt;
    throw;
  }
}

}  // namespace v4rt
