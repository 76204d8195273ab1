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

// The walk: the states of the bytes above a node are in path_.
void TokenMatcher::add(const TokenTrie::Part& part, std::vector<uint64_t>& mask) {
  path_[0] = state_;
  for (size_t i = 0; i < part.nodes.size();) {
    const TokenTrie::Node& node = part.nodes[i];
    const State state = automaton_.next(path_[node.depth], node.byte);
    if (state == Automaton::kDead) {
      i = static_cast<size_t>(node.skip);
      continue;
    }
    path_[node.depth + 1u] = state;
    for (int32_t at = node.ids_begin; at < node.ids_end; ++at) {
      const auto id = static_cast<size_t>(part.ids[static_cast<size_t>(at)]);
      mask[id / 64] |= uint64_t{1} << (id % 64);
    }
    ++i;
  }
}

}  // namespace v4rt
