#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// Ends a text at the first of some strings, wherever the borders of tokens are. Bytes go in as tokens bring them; what
// comes out is certain to stand before any of the strings, so the start of what may become one is held back. The first
// one is that whose end comes first, and of several with the same end the longest.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings);  // throws Error if one is empty

  // Returns what may be shown. Once a string has come, it and whatever follows are dropped.
  std::string push(std::string_view bytes);
  std::string flush();  // at the end of the text: what was held back
  void reset();         // for another text

  bool stopped() const { return !stop_.empty(); }
  const std::string& stop() const { return stop_; }  // the string that came

 private:
  std::vector<std::string> strings_;
  std::string held_;  // the longest end of the text that is the start of a string
  std::string stop_;
};

}  // namespace v4rt
