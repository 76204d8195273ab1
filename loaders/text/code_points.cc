#include "loaders/text/code_points.h"

#include <algorithm>
#include <iterator>

namespace v4rt {
namespace {

#include "loaders/text/unicode_table.inc"

}  // namespace

CodePoints::CodePoints(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  for (const Range& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

bool CodePoints::contains(uint32_t code) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), code,
                                      [](uint32_t wanted, const Range& range) { return wanted < range.first; });
  return after != ranges_.begin() && code <= std::prev(after)->last;
}

CodePoints CodePoints::operator|(const CodePoints& other) const {
  std::vector<Range> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePoints(std::move(both));
}

CodePoints CodePoints::operator~() const {
  std::vector<Range> gaps;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (next < range.first) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLast) gaps.push_back({next, kLast});
  return CodePoints(std::move(gaps));
}

std::optional<CodePoints> general_category(std::string_view name) {
  if (name.empty()) return std::nullopt;
  std::vector<CodePoints::Range> ranges;
  for (size_t i = 0; i < std::size(kRuns); ++i) {
    if (!kCategories[kRuns[i] & 31].starts_with(name)) continue;
    const bool is_last = i + 1 == std::size(kRuns);
    ranges.push_back({kRuns[i] >> 5, is_last ? CodePoints::kLast : (kRuns[i + 1] >> 5) - 1});
  }
  if (ranges.empty()) return std::nullopt;
  return CodePoints(std::move(ranges));
}

CodePoints white_space() { return *general_category("Z") | CodePoints{{0x09, 0x0D}, {0x85, 0x85}}; }

}  // namespace v4rt
