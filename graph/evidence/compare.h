#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/evidence/golden.h"
#include "graph/evidence/value_error.h"
#include "graph/runtime/session.h"

namespace v4rt {

// One node of two models, given the same inputs.
struct OpError {
  std::string node;     // "L03.attn.attend"
  std::string_view op;  // "attend"
  std::string device, kernel;
  ValueError error;             // of all outputs and states, over all steps
  int64_t first_position = -1;  // of the step in which it first differed; -1: in none
};

struct OpComparison {
  std::vector<OpError> ops;            // in the order in which they run
  std::vector<std::string> unmatched;  // nodes that only one of the two has
  std::optional<size_t> first;         // the op at which the two part
};

// Runs `ids` on both, `prompt` tokens at once and the others one by one, and compares what each node makes. After every
// node its results on `actual` are replaced by those of `expected`: so each has the inputs it should have, and where
// one differs it is not for others' faults. Until the first that differs this is an ordinary run: there the two part.
// Both models must have the same numbers, a chunk of `prompt` at least and room for `ids`; `done` is called with a
// share of 1.
OpComparison compare_ops(const std::shared_ptr<const Model>& expected, const std::shared_ptr<const Model>& actual,
                         std::span<const int32_t> ids, int64_t prompt, const std::function<void(double done)>& done);

// How logits differ over positions of a text.
struct LogitError {
  int64_t positions = 0;
  int64_t equal = 0;                              // positions with equal bits
  int64_t first = -1;                             // the first without; -1: all are equal
  int64_t same_best = 0;                          // positions with the same most probable token
  double largest = 0;                             // difference of two logits
  double divergence = 0, largest_divergence = 0;  // of the distributions: KL(expected || actual), in nats; the sum

  double mean_divergence() const { return divergence / static_cast<double>(positions); }
};

// What two models say about the same text, and by themselves after it.
struct TextComparison {
  LogitError logits;
  int64_t said = 0;        // tokens of the continuation, always the most probable
  int64_t said_alike = 0;  // before the first that differs
};

// Both sessions must be empty. `more`: tokens to continue with.
TextComparison compare_texts(Session& expected, Session& actual, std::span<const int32_t> ids, int64_t more,
                             const std::function<void(double done)>& done);

// What a model says about a text whose logits are known. The session must be empty and have room for the text.
LogitError compare_golden(const GoldenText& expected, Session& actual, const std::function<void(double done)>& done);

}  // namespace v4rt
