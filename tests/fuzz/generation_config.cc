// generation_config.json.

#include "loaders/checkpoint/generation_config.h"

#include <algorithm>

#include "tests/fuzz/target.h"

namespace v4rt::fuzz {

void read(std::string_view input) {
  constexpr int64_t kVocab = 512;
  const GenerationConfig c = parse_generation_config(input, "generation_config.json", kVocab);
  require(
      std::all_of(c.eos_token_ids.begin(), c.eos_token_ids.end(), [](int32_t id) { return id >= 0 && id < kVocab; }),
      "an end token outside the vocabulary");
  require(!c.temperature || *c.temperature >= 0, "a temperature below 0");
  require(!c.top_p || (*c.top_p > 0 && *c.top_p <= 1), "a top_p that is no share");
}

}  // namespace v4rt::fuzz
