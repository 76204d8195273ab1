#pragma once

#include "graph/grammar/grammar.h"

namespace v4rt {

// The numbers between two bounds, as JSON without an exponent.
struct NumberRange {
  double low = -1e15, high = 1e15;
  bool without_low = false, without_high = false;  // the bounds themselves do not count
};

Grammar::Label integers_in(const NumberRange& range, GrammarBuilder& builder);
// Of numbers with a fraction, only those whose whole part leaves all fractions within the bounds: 0.7 is not found to
// be at least 0.5.
Grammar::Label numbers_in(const NumberRange& range, GrammarBuilder& builder);

}  // namespace v4rt
