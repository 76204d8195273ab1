#include "graph/grammar/token_matcher.h"

#include <algorithm>
#include <bit>

#include "ops/core/error.h"

namespace v4rt {

TokenMatcher::TokenMatcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
                           std::span<const int32_t> prefix)
    : trie_(std::move(trie)),
      automaton_(std::move(grammar)),
      state_(automaton_.begin()),
      prefix_(prefix.size()),
      path_(std::max(trie_->plain().depth, trie_->other().depth) + 1) {
  tokens_.reserve(prefix_ + (size_t{1} << 16));
  for (Mask& mask : masks_) mask.bits.resize(trie_->words());
  check(possible(prefix) == prefix.size(), Code::kInvalidArgument,
        "what the reply begins with is not what its schema allows");
  for (const int32_t id : prefix) accept(id);
}

TokenMatcher::State TokenMatcher::after(State state, int32_t id) {
  const std::string_view bytes = trie_->bytes(id);
  if (bytes.empty()) return Automaton::kDead;
  for (size_t i = 0; i < bytes.size() && state != Automaton::kDead; ++i)
    state = automaton_.next(state, static_cast<uint8_t>(bytes[i]));
  return state;
}

void TokenMatcher::step(int32_t id) {
  const State next = after(state_, id);
  check(next != Automaton::kDead, Code::kInvalidArgument, "token {} is none that the grammar allows here", id);
  state_ = next;
}

void TokenMatcher::accept(int32_t id) {
  step(id);
  tokens_.push_back(id);
}

size_t TokenMatcher::possible(std::span<const int32_t> ids) {
  State state = state_;
  size_t n = 0;
  try {
    while (n < ids.size() && (state = after(state, ids[n])) != Automaton::kDead) ++n;
  } catch (const Error&) {  // who accepts them is told
  }
  return n;
}

// What was kept of states may be gone by now; the tokens say what they were.
void TokenMatcher::rewind(size_t n) {
  check(n <= accepted(), Code::kInvalidArgument, "back to {} tokens of {}", n, accepted());
  if (n == accepted()) return;
  tokens_.resize(prefix_ + n);
  state_ = automaton_.begin();
  for (const int32_t id : tokens_) step(id);
}

std::span<const uint64_t> TokenMatcher::allowed() {
  if (automaton_.full()) {
    state_ = automaton_.forget_but(state_);
    for (Mask& mask : masks_) mask.of = Automaton::kDead;
  }
  const auto known = std::ranges::find(masks_, state_, &Mask::of);
  if (known != masks_.end()) return known->bits;
  Mask& mask = masks_[next_mask_++ % kMasks];
  mask.of = Automaton::kDead;  // until it is made
  make_mask(mask.bits);
  mask.of = state_;
  return mask.bits;
}

void TokenMatcher::make_mask(std::vector<uint64_t>& mask) {
  const TokenTrie::Run* const run = trie_->run(automaton_.run(state_));
  if (run == nullptr) {
    std::ranges::fill(mask, 0);
  } else {
    std::ranges::copy(run->bits, mask.begin());
  }
  add(trie_->other(), mask);
  if (run == nullptr || !trie_->all_plain(*run)) add(trie_->plain(), mask);
  // Every byte is a token of the vocabularies that are known, and no branch leads nowhere.
  check(std::ranges::any_of(mask, [](uint64_t word) { return word != 0; }), Code::kCorrupt,
        "the vocabulary has no token for what the grammar needs next");
}

void TokenMatcher::add(const TokenTrie::Part& part, std::vector<uint64_t>& mask) {
  const auto children_of = [&](size_t node, State state) {
    return Level{state, part.nodes[node].children, part.nodes[node + 1].children};
  };
  size_t depth = 0;
  path_[0] = children_of(0, state_);
  while (true) {
    if (path_[depth].at == path_[depth].end) {
      if (depth-- == 0) return;
      continue;
    }
    const auto at = static_cast<size_t>(path_[depth].at++);
    const State state = automaton_.next(path_[depth].state, part.nodes[at].byte);
    if (state == Automaton::kDead) continue;
    for (int32_t i = part.nodes[at].ids; i < part.nodes[at + 1].ids; ++i) {
      const auto id = static_cast<size_t>(part.ids[static_cast<size_t>(i)]);
      mask[id / 64] |= uint64_t{1} << (id % 64);
    }
    if (part.nodes[at].children < part.nodes[at + 1].children) path_[++depth] = children_of(at, state);
  }
}

}  // namespace v4rt
