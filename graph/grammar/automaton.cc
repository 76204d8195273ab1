#include "graph/grammar/automaton.h"

#include <algorithm>

#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr size_t kMostVisits = 4096;  // instructions and stacks while one state is found

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
  return hash ^ (hash >> 29);
}

}  // namespace

template <class Equal>
int32_t Automaton::Index::find(uint64_t hash, const Equal& equal) const {
  for (size_t i = hash;; ++i) {
    const int32_t index = slots_[i % slots_.size()];
    if (index < 0 || equal(index)) return index;
  }
}

template <class HashOf>
void Automaton::Index::add(uint64_t hash, int32_t index, const HashOf& hash_of) {
  const auto put = [](std::vector<int32_t>& slots, uint64_t at, int32_t value) {
    while (slots[at % slots.size()] >= 0) ++at;
    slots[at % slots.size()] = value;
  };
  if (++used_ * 2 > slots_.size()) {
    std::vector<int32_t> larger(slots_.size() * 2, -1);
    for (const int32_t old : slots_)
      if (old >= 0) put(larger, hash_of(old), old);
    slots_ = std::move(larger);
  }
  put(slots_, hash, index);
}

void Automaton::Index::clear() {
  std::ranges::fill(slots_, -1);
  used_ = 0;
}

Automaton::Automaton(std::shared_ptr<const Grammar> grammar)
    : grammar_(std::move(grammar)), classes_(grammar_->bytes_of.size()), visited_(2 * kMostVisits) {
  threads_.reserve(2 * kMostThreads);
  states_.reserve(2 * kMostStates);
  next_.reserve(2 * kMostStates * classes_);
  frames_.reserve(kMostThreads);
  found_.reserve(kMostVisits);
  left_.reserve(2 * kMostVisits);
  reset();
}

void Automaton::reset() {
  threads_.clear();
  states_.clear();
  next_.clear();
  frames_.assign(1, {});
  state_index_.clear();
  frame_index_.clear();
  ++round_;
  n_visited_ = 0;
  visit(grammar_->begin, kBottom);
  begin_ = intern();
}

Automaton::State Automaton::forget_but(State state) {
  std::vector<std::pair<int32_t, std::vector<int32_t>>> kept;  // instructions and what they return to, the bottom first
  const Known known = states_[static_cast<size_t>(state)];
  for (size_t i = known.begin; i < known.begin + known.n; ++i) {
    kept.emplace_back(threads_[i].at, std::vector<int32_t>());
    for (int32_t frame = threads_[i].stack; frame != kBottom; frame = frames_[static_cast<size_t>(frame)].below)
      kept.back().second.insert(kept.back().second.begin(), frames_[static_cast<size_t>(frame)].at);
  }
  reset();
  for (const auto& [at, returns] : kept) {
    int32_t stack = kBottom;
    for (const int32_t to : returns) stack = push(to, stack);
    found_.push_back({at, stack});
  }
  return intern();
}

Automaton::State Automaton::find_next(State state, uint8_t byte_class) {
  const Known known = states_[static_cast<size_t>(state)];
  const uint8_t byte = grammar_->bytes_of[byte_class];
  ++round_;
  n_visited_ = 0;
  found_.clear();  // of a state whose search failed
  left_.clear();
  for (size_t i = known.begin; i < known.begin + known.n; ++i) {
    const Thread thread = threads_[i];
    const Grammar::Instruction& instruction = grammar_->program[static_cast<size_t>(thread.at)];
    if (grammar_->sets[static_cast<size_t>(instruction.set)][byte]) visit(instruction.next, thread.stack);
  }
  const State next = found_.empty() ? kDead : intern();
  next_[static_cast<size_t>(state) * classes_ + byte_class] = next;
  return next;
}

// Adds the threads that are reached from here without reading.
void Automaton::visit(int32_t at, int32_t stack) {
  follow(at, stack);
  while (!left_.empty()) {
    const Thread thread = left_.back();
    left_.pop_back();
    const Grammar::Instruction& instruction = grammar_->program[static_cast<size_t>(thread.at)];
    const Frame& frame = frames_[static_cast<size_t>(thread.stack)];
    switch (instruction.kind) {
      case Grammar::Instruction::Kind::kBytes: found_.push_back(thread); break;
      case Grammar::Instruction::Kind::kSplit:
        follow(instruction.next, thread.stack);
        follow(instruction.other, thread.stack);
        break;
      case Grammar::Instruction::Kind::kCall: follow(instruction.other, push(instruction.next, thread.stack)); break;
      case Grammar::Instruction::Kind::kReturn: follow(frame.at, frame.below); break;
    }
  }
}

// Looks at a place later, unless it was seen in this round or could not be completed.
void Automaton::follow(int32_t at, int32_t stack) {
  const Thread thread{at, stack};
  const int32_t depth = frames_[static_cast<size_t>(stack)].depth + grammar_->program[static_cast<size_t>(at)].depth;
  if (depth > kMaxGrammarDepth) return;
  size_t slot = mixed(static_cast<uint32_t>(at), static_cast<uint32_t>(stack)) % visited_.size();
  for (; visited_[slot].round == round_; slot = (slot + 1) % visited_.size())
    if (visited_[slot].thread == thread) return;
  check(++n_visited_ < kMostVisits, Code::kInvalidArgument,
        "the schema leaves more than {} ways open at once to read the same text; make its alternatives differ",
        kMostVisits);
  visited_[slot] = {thread, round_};
  left_.push_back(thread);
}

int32_t Automaton::push(int32_t at, int32_t below) {
  const Frame frame{at, below, frames_[static_cast<size_t>(below)].depth + 1};
  const int32_t known = frame_index_.find(hash_of(frame), [&](int32_t i) {
    const Frame& other = frames_[static_cast<size_t>(i)];
    return other.at == at && other.below == below;
  });
  if (known >= 0) return known;
  frames_.push_back(frame);
  const auto fresh = static_cast<int32_t>(frames_.size()) - 1;
  frame_index_.add(hash_of(frame), fresh, [&](int32_t i) { return hash_of(frames_[static_cast<size_t>(i)]); });
  return fresh;
}

// The state of the threads that were found.
Automaton::State Automaton::intern() {
  std::ranges::sort(found_);
  Known fresh{threads_.size(), found_.size(), 0};
  for (const Thread& thread : found_)  // long characters are called
    if (frames_[static_cast<size_t>(thread.stack)].depth < kMaxGrammarDepth)
      fresh.run = std::max(fresh.run, grammar_->program[static_cast<size_t>(thread.at)].run);
  threads_.insert(threads_.end(), found_.begin(), found_.end());
  found_.clear();
  const auto at = [&](size_t i) { return threads_.begin() + static_cast<ptrdiff_t>(i); };
  const uint64_t hash = hash_of(fresh);
  const State known = state_index_.find(hash, [&](int32_t i) {
    const Known& other = states_[static_cast<size_t>(i)];
    return other.n == fresh.n && std::equal(at(other.begin), at(other.begin + other.n), at(fresh.begin));
  });
  if (known >= 0) {
    threads_.resize(fresh.begin);
    return known;
  }
  states_.push_back(fresh);
  ByteSet taken;
  for (size_t i = fresh.begin; i < fresh.begin + fresh.n; ++i)
    taken |= grammar_->sets[static_cast<size_t>(grammar_->program[static_cast<size_t>(threads_[i].at)].set)];
  for (const uint8_t byte : grammar_->bytes_of) next_.push_back(taken[byte] ? kUnknown : kDead);
  const auto state = static_cast<State>(states_.size()) - 1;
  state_index_.add(hash, state, [&](int32_t i) { return hash_of(states_[static_cast<size_t>(i)]); });
  return state;
}

uint64_t Automaton::hash_of(const Frame& frame) {
  return mixed(static_cast<uint32_t>(frame.at), static_cast<uint32_t>(frame.below));
}

uint64_t Automaton::hash_of(const Known& state) const {
  uint64_t hash = state.n;
  for (size_t i = state.begin; i < state.begin + state.n; ++i)
    hash = mixed(mixed(hash, static_cast<uint32_t>(threads_[i].at)), static_cast<uint32_t>(threads_[i].stack));
  return hash;
}

}  // namespace v4rt
