#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace v4rt {

// A set of code points, as ascending ranges that neither overlap nor touch.
class CodePoints {
 public:
  struct Range {
    uint32_t first, last;  // both in the set
  };
  static constexpr uint32_t kLast = 0x10FFFF;

  CodePoints() = default;
  CodePoints(std::initializer_list<Range> ranges) : CodePoints(std::vector<Range>(ranges)) {}
  explicit CodePoints(std::vector<Range> ranges);  // in any order

  const std::vector<Range>& ranges() const { return ranges_; }
  bool contains(uint32_t code) const;
  CodePoints operator|(const CodePoints& other) const;
  CodePoints operator~() const;

 private:
  std::vector<Range> ranges_;
};

// What a regex means by \p{name}: a general category of Unicode 16.0, "Lu", or all that begin with a letter, "L".
// Empty for any other name. The table is part of the program, so that ids do not depend on the system's libraries.
std::optional<CodePoints> general_category(std::string_view name);

// What a regex means by \s: Unicode's White_Space.
CodePoints white_space();

}  // namespace v4rt
