#include "loaders/text/stop_strings.h"

#include <algorithm>
#include <utility>

#include "ops/core/error.h"

namespace v4rt {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_)
    check(!string.empty(), Code::kInvalidArgument, "a stop string is empty: every text would end before it begins");
}

// Byte by byte, so that no split of the bytes makes a difference.
std::string StopStrings::push(std::string_view bytes) {
  std::string certain;
  for (const char byte : bytes) {
    if (stopped()) break;
    held_ += byte;
    size_t match = 0, start = 0;  // lengths: of a string that ends here, and of the longest that may begin here
    for (const std::string& string : strings_) {
      if (held_.ends_with(string)) match = std::max(match, string.size());
      for (size_t n = std::min(held_.size(), string.size() - 1); n > start; --n)
        if (held_.ends_with(std::string_view(string).substr(0, n))) start = n;
    }
    stop_ = held_.substr(held_.size() - match);
    certain.append(held_, 0, held_.size() - (stopped() ? match : start));
    held_.erase(0, stopped() ? held_.size() : held_.size() - start);
  }
  return certain;
}

std::string StopStrings::flush() { return std::exchange(held_, {}); }

void StopStrings::reset() {
  held_.clear();
  stop_.clear();
}

}  // namespace v4rt
