#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "loaders/text/code_points.h"

namespace v4rt {

// A parsed regex: sets of characters, each matching one character, and between them syntax that means the same to every
// engine.
struct PatternItem {
  std::variant<std::string, CodePoints> what;
  size_t offset;  // in the pattern, in bytes
};
using SplitPattern = std::vector<PatternItem>;

// The part of Oniguruma's language that tokenizers use: characters, ".", classes with ranges and with \p{..}, \P{..},
// \s, \S, \d, \D; groups and look-around; "|", "^" and "$" (which are about lines); greedy, lazy and possessive
// quantifiers. Nothing refers to groups, so they are not captured. Everything else is refused, because the engine that
// runs the pattern would read it differently, or because it cannot work on kinds of characters (back-references).
// Throws Error that begins with `name`.
SplitPattern parse_pattern(std::string_view pattern, const std::string& name);

SplitPattern literal_pattern(std::string_view text);  // matches that text; `text` is UTF-8

}  // namespace v4rt
