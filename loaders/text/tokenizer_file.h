#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/text/pretokenizer.h"
#include "loaders/text/tokenizer_added.h"
#include "loaders/text/tokenizer_bpe.h"

namespace v4rt {

// tokenizer.json as Hugging Face tokenizers writes it, for byte-level BPE: checked, with the byte alphabet resolved.
struct TokenizerFile {
  std::vector<std::string> tokens;  // raw bytes by id; empty: no token has the id
  std::array<int32_t, 256> byte_ids{};
  std::vector<Bpe::Merge> merges;  // in order of rank
  std::vector<SplitRule> splits;
  std::vector<AddedToken> added;
};

// `source` names the file in messages. Throws Error for anything that is missing, contradictory, or would change the
// ids and is not implemented. Settings that cannot change ids (offsets, truncation, padding, `special` and `normalized`
// flags) are ignored.
TokenizerFile read_tokenizer_json(std::string_view json, const std::string& source);

}  // namespace v4rt
