#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

class FileSource;

// What a checkpoint's generation_config.json recommends: how the next token is chosen, and what ends a text. A file
// with "do_sample": false asks for the likeliest token, which is temperature 0.
struct GenerationConfig {
  std::vector<int32_t> eos_token_ids;  // in addition to those of config.json; may be empty
  // Empty if the file does not say.
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;          // 0: all
  std::vector<std::string> not_applied;  // settings that would change the choice, but are not implemented:
                                         // "typical_p = 0.2"
};

// Throws Error naming file, key and value if it is not such a file, or a value makes no sense.
GenerationConfig parse_generation_config(std::string_view json, std::string_view source, int64_t vocab_size);

// Reads it from generation_config.json; empty if the checkpoint has none.
std::optional<GenerationConfig> read_generation_config(const FileSource& files, int64_t vocab_size);

}  // namespace v4rt
