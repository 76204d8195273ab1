#include "graph/grammar/number_range.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace v4rt {
namespace {

using Label = Grammar::Label;
constexpr Label kReturn = GrammarBuilder::kReturn;
constexpr int64_t kMost = 999'999'999'999'999;  // 15 digits
constexpr double kUnbounded = NumberRange().high;
constexpr int kDigits = 15;

ByteSet digits(char low, char high) { return byte_range(static_cast<uint8_t>(low), static_cast<uint8_t>(high)); }

class Range {
 public:
  Range(const NumberRange& range, GrammarBuilder& builder) : builder_(builder) {
    for (const double bound : {range.low, range.high})
      if (std::abs(bound) < kUnbounded)
        fraction_ = std::min(fraction_, kDigits - static_cast<int>(std::to_string(std::abs(bound)).find('.')));
    fraction_ = std::max(fraction_, 1);
  }

  // Whole numbers, not negative, from low to high.
  Label whole(int64_t low, int64_t high, Label next) {
    std::vector<Label> lengths;
    for (int64_t from = low; from <= high;) {
      const std::string digits = std::to_string(from);
      const int64_t to = std::min(high, static_cast<int64_t>(std::pow(10.0, digits.size())) - 1);
      lengths.push_back(same_length(digits, std::to_string(to), 0, true, true, next));
      from = to + 1;
    }
    return builder_.either(lengths);
  }
  Label any_fraction() {
    return builder_.either(builder_.literal(".", builder_.bytes(digits('0', '9'), up_to(fraction_ - 1))), kReturn);
  }
  Label positive_fraction() {
    Label rest = builder_.bytes(digits('1', '9'), kReturn);
    for (int more = 1; more < fraction_; ++more)
      rest = builder_.either(builder_.literal("0", rest), builder_.bytes(digits('1', '9'), up_to(more)));
    return builder_.literal(".", rest);
  }

 private:
  // Digits from `at` on, where those before are as low's, or high's, or are between them.
  Label same_length(const std::string& low, const std::string& high, size_t at, bool as_low, bool as_high, Label next) {
    if (at == low.size()) return next;
    const char from = as_low ? low[at] : '0', to = as_high ? high[at] : '9';
    const auto rest = [&](bool l, bool h) { return same_length(low, high, at + 1, l, h, next); };
    if (from == to || !(as_low || as_high)) return builder_.bytes(digits(from, to), rest(as_low, as_high));
    std::vector<Label> branches;
    const char inner_from = as_low ? static_cast<char>(from + 1) : from,
               inner_to = as_high ? static_cast<char>(to - 1) : to;
    if (as_low) branches.push_back(builder_.bytes(digits(from, from), rest(true, false)));
    if (inner_from <= inner_to) branches.push_back(builder_.bytes(digits(inner_from, inner_to), rest(false, false)));
    if (as_high) branches.push_back(builder_.bytes(digits(to, to), rest(false, true)));
    return builder_.either(branches);
  }

  Label up_to(int n) {
    return builder_.repeat(0, n, kReturn, [&](Label next) { return builder_.bytes(digits('0', '9'), next); });
  }

  GrammarBuilder& builder_;
  int fraction_ = kDigits;  // digits of one: with those of a bound, not more than a double can tell apart
};

int64_t least_whole(double low, bool without) {
  const double ceiling = std::ceil(std::clamp(low, -1e15, 1e15));
  return std::clamp(static_cast<int64_t>(ceiling) + (without && ceiling == low ? 1 : 0), -kMost, kMost + 1);
}

NumberRange mirrored(const NumberRange& range) {
  return {-range.high, -range.low, range.without_high, range.without_low};
}

// Of the numbers that are not negative.
Label positive_numbers(NumberRange range, Range& ranges, GrammarBuilder& builder) {
  if (range.low < 0) range = {0, range.high, false, range.without_high};
  std::vector<Label> branches;
  const int64_t first = least_whole(range.low, false), last = -least_whole(-range.high, range.without_high);
  // Those whose next whole number is still within, then the last one itself, then those above a bound that does not
  // count.
  const bool first_counts = !(range.without_low && static_cast<double>(first) == range.low);
  const int64_t cells = -least_whole(-range.high, false) - 1;
  branches.push_back(ranges.whole(first_counts ? first : first + 1, cells, ranges.any_fraction()));
  if (last > cells && last >= (first_counts ? first : first + 1)) branches.push_back(ranges.whole(last, last, kReturn));
  if (!first_counts && first <= cells) branches.push_back(ranges.whole(first, first, ranges.positive_fraction()));
  return builder.either(branches);
}

}  // namespace

Label integers_in(const NumberRange& range, GrammarBuilder& builder) {
  Range ranges(range, builder);
  const int64_t low = least_whole(range.low, range.without_low), high = -least_whole(-range.high, range.without_high);
  const Label negative = ranges.whole(std::max<int64_t>(1, -high), -low, kReturn);
  return builder.either(builder.literal("-", negative), ranges.whole(std::max<int64_t>(0, low), high, kReturn));
}

Label numbers_in(const NumberRange& range, GrammarBuilder& builder) {
  Range ranges(range, builder);
  const Label negative = builder.literal("-", positive_numbers(mirrored(range), ranges, builder));
  const Label positive = positive_numbers(range, ranges, builder);
  if (range.high <= 0) return range.high == 0 ? builder.either(negative, positive) : negative;
  return range.low < 0 ? builder.either(negative, positive) : positive;
}

}  // namespace v4rt
