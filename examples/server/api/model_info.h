#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "graph/grammar/token_trie.h"
#include "loaders/text/chat_encoding.h"
#include "loaders/text/tokenizer.h"

namespace v4rt::server {

// What answering needs to know of the model that is served.
struct ModelInfo {
  std::string name, fingerprint;  // of its weights and numbers
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const TokenTrie> trie;
  int32_t bos = 0;
  int64_t context = 0, created = 0;
  ChatRevision revision = ChatRevision::kPreview;
  bool agents_think_most = false;  // with tools, where no effort is asked for
  bool sample_thinking = false;    // temperature and top_p count while thinking,
                                   // which DeepSeek's service ignores
};

}  // namespace v4rt::server
