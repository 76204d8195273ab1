#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "loaders/text/tokenizer.h"

namespace v4rt::needle {

// One message of the V4 chat encoding that is `tokens` long at most: lines of words, among which one line, the needle,
// says "key 41: river", and at its end the question "What is key 41?" with the beginning of its answer, "Key 41 is".
// The next token should be the value's.
class Haystack {
 public:
  // Throws Error if not even the needle fits.
  Haystack(const Tokenizer& tokenizer, int64_t tokens, uint64_t seed);

  // The lines before the needle are all that changes with its depth: 0 has it first, 1 right before the question.
  std::span<const int32_t> before(double depth) const;
  std::vector<int32_t> rest(double depth) const;  // the needle, the lines after it, the question

  int32_t value() const { return values_[0]; }                 // its first token
  std::span<const int32_t> values() const { return values_; }  // of all values that a needle may have; all differ
  int64_t size() const { return static_cast<int64_t>(head_.size() + needle_.size() + question_.size()); }

 private:
  size_t place(double depth) const;  // in head_, at the start of a line

  std::vector<int32_t> head_, needle_, question_;  // head_: what opens the message, and the lines
  std::vector<size_t> line_starts_;                // in head_; its end is the last one
  std::vector<int32_t> values_;
};

}  // namespace v4rt::needle
