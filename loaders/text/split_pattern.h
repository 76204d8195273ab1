#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "loaders/text/code_points.h"

namespace v4rt {

// A regex taken apart: what matches one character, as the set of those that match, and the syntax between, which means
// the same to every engine.
struct PatternItem {
  std::variant<std::string, CodePoints> what;
  size_t offset;  // in the pattern, in bytes
};
using SplitPattern = std::vector<PatternItem>;

// The part of Oniguruma's language that tokenizers use: characters, ".", classes with ranges and with \p{..}, \P{..},
// \s, \S, \d, \D; groups and look-around; "|", "^" and "$" (which are about lines); greedy, lazy and possessive
// quantifiers. Nothing refers to a group, so groups are not captured. Everything else is refused, since it would mean
// something else to the engine that runs the pattern, or could not be run on kinds of characters (back-references).
// Throws Error that begins with `name`.
SplitPattern parse_pattern(std::string_view pattern, const std::string& name);

SplitPattern literal_pattern(std::string_view text);  // matches that text; `text` is UTF-8

}  // namespace v4rt
