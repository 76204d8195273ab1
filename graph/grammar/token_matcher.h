#pragma once

#include <array>
#include <memory>
#include <vector>

#include "graph/grammar/automaton.h"
#include "graph/grammar/token_trie.h"
#include "graph/runtime/token_filter.h"

namespace v4rt {

// Tokens whose bytes go on with a text of a grammar. Masks of states are kept; making one follows the trie of all
// tokens, but for those that a string may hold anyway. Allocates next to nothing after it was made.
class TokenMatcher final : public TokenFilter {
 public:
  // A text begins after `prefix`, which belongs to the language.
  TokenMatcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
               std::span<const int32_t> prefix = {});

  std::span<const uint64_t> allowed() override;
  // Throws Error(kInvalidArgument) for a token that is not allowed, and as Automaton::next does.
  void accept(int32_t id) override;
  size_t possible(std::span<const int32_t> ids) override;
  size_t accepted() const override { return tokens_.size() - prefix_; }
  void rewind(size_t n) override;

 private:
  using State = Automaton::State;
  static constexpr size_t kMasks = 64;

  void step(int32_t id);
  State after(State state, int32_t id);
  void make_mask(std::vector<uint64_t>& mask);
  void add(const TokenTrie::Part& part, std::vector<uint64_t>& mask);

  const std::shared_ptr<const TokenTrie> trie_;
  Automaton automaton_;
  State state_;
  std::vector<int32_t> tokens_;  // of the prefix and accepted
  const size_t prefix_;
  struct Level {  // of a walk: where it is among the children of a node
    State state;  // after the bytes down to them
    int32_t at, end;
  };
  std::vector<Level> path_;

  struct Mask {
    State of = Automaton::kDead;
    std::vector<uint64_t> bits;
  };
  std::array<Mask, kMasks> masks_;
  size_t next_mask_ = 0;  // the one that is made anew when another is needed
};

}  // namespace v4rt
