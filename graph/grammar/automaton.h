#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "graph/grammar/grammar.h"

namespace v4rt {

// Reads bytes of a grammar. Its states, sets of branches with their stacks, are found as they are met and kept with
// what follows them, so that a step is mostly a look into a table.
class Automaton {
 public:
  using State = int32_t;
  static constexpr State kDead = -1;  // no text of the language goes on like this

  explicit Automaton(std::shared_ptr<const Grammar> grammar);

  State begin() const { return begin_; }
  // Throws Error(kInvalidArgument) when more branches are open than anybody means.
  State next(State state, uint8_t byte) {
    const State known = next_[static_cast<size_t>(state) * classes_ + grammar_->class_of[byte]];
    return known == kUnknown ? find_next(state, grammar_->class_of[byte]) : known;
  }
  // So many characters may come whatever they are: Grammar::Instruction::run.
  int32_t run(State state) const { return states_[static_cast<size_t>(state)].run; }

  // When much is kept, forgets all but what `state` and begin() need. Other states are no more; returns the new
  // `state`.
  bool full() const {
    return states_.size() > kMostStates || threads_.size() > kMostThreads || frames_.size() > kMostThreads;
  }
  State forget_but(State state);

 private:
  static constexpr State kUnknown = -2;
  static constexpr size_t kMostStates = 4096, kMostThreads = size_t{1} << 16;

  // A branch: an instruction of kBytes, and where it returns to.
  struct Thread {
    int32_t at, stack;
    bool operator==(const Thread&) const = default;
    auto operator<=>(const Thread&) const = default;
  };
  struct Frame {
    int32_t at, below;  // below: kBottom, or another frame
    int32_t depth;
  };
  struct Known {
    size_t begin, n;  // of threads_
    int32_t run;
  };
  static constexpr int32_t kBottom = 0;

  // Where things are found again that are equal: indices by hash, one beside the next.
  class Index {
   public:
    template <class Equal>
    int32_t find(uint64_t hash, const Equal& equal) const;  // -1: it is new
    template <class HashOf>
    void add(uint64_t hash, int32_t index, const HashOf& hash_of);
    void clear();

   private:
    std::vector<int32_t> slots_ = std::vector<int32_t>(16384, -1);
    size_t used_ = 0;
  };

  void reset();
  State find_next(State state, uint8_t byte_class);
  void follow(int32_t at, int32_t stack);
  void visit(int32_t at, int32_t stack);
  int32_t push(int32_t at, int32_t below);
  State intern();
  static uint64_t hash_of(const Frame& frame);
  uint64_t hash_of(const Known& state) const;

  const std::shared_ptr<const Grammar> grammar_;
  const size_t classes_;
  std::vector<Thread> threads_;
  std::vector<Known> states_;
  std::vector<State> next_;
  std::vector<Frame> frames_;
  Index state_index_, frame_index_;
  State begin_ = 0;

  // While a state is found: its threads, what was visited, and what is left to visit.
  std::vector<Thread> found_, left_;
  struct Visited {
    Thread thread;
    uint32_t round = 0;
  };
  std::vector<Visited> visited_;
  uint32_t round_ = 0;
  size_t n_visited_ = 0;
};

}  // namespace v4rt
