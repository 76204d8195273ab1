#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "loaders/text/tokenizer.h"

namespace v4rt {

// The tokens of a vocabulary by their bytes, for finding all those at once that a grammar takes. Control tokens have
// the bytes that graph/grammar/grammar.h names.
class TokenTrie {
 public:
  // `vocab_size` is the model's, which may have ids that the tokenizer lacks: no grammar takes those.
  TokenTrie(const Tokenizer& tokenizer, int64_t vocab_size, std::span<const int32_t> end_tokens);

  // The root first, then level by level, so that the children of a node, most of which lead nowhere when a grammar is
  // asked, lie side by side. What a node has ends where the next one's begins; the last node has nothing.
  struct Node {
    uint8_t byte;
    int32_t children;  // of nodes
    int32_t ids;       // of the tokens that end here
  };
  struct Part {
    std::vector<Node> nodes;
    std::vector<int32_t> ids;
    size_t depth = 0;  // of the longest
  };
  // Those that hold whole characters, and neither control characters nor " nor \, and all others.
  const Part& plain() const { return plain_; }
  const Part& other() const { return other_; }

  // A bit for each plain token of at most so many characters, for the largest number up to `most` that is kept.
  struct Run {
    int32_t most;
    std::vector<uint64_t> bits;
  };
  const Run* run(int32_t most) const;  // null: none is
  bool all_plain(const Run& run) const { return &run == &runs_.back(); }

  std::string_view bytes(int32_t id) const {  // none of what is no token
    const auto i = static_cast<size_t>(id);
    if (id < 0 || i + 1 >= begin_.size()) return {};
    return std::string_view(bytes_).substr(begin_[i], begin_[i + 1] - begin_[i]);
  }
  size_t words() const { return words_; }  // of a mask

 private:
  std::string bytes_;          // of all tokens
  std::vector<size_t> begin_;  // in bytes_, by id
  size_t words_ = 0;
  Part plain_, other_;
  std::vector<Run> runs_;
};

}  // namespace v4rt
