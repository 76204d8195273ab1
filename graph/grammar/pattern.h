#pragma once

#include <string>
#include <string_view>

#include "graph/grammar/json_grammar.h"

namespace v4rt {

// Texts in which a regular expression of JSON Schema's dialect (ECMA 262) matches: literals, classes, groups,
// alternatives and counts; ^ and $ at the ends of the whole or of its alternatives. In a JSON string when `quoted`.
// Throws Error(kInvalidArgument), naming `place`, for what is no regular expression, and for look-around, back
// references and ranges of other than ASCII characters.
Grammar::Label pattern(std::string_view expression, bool quoted, std::string_view place, GrammarBuilder& builder,
                       JsonGrammar& json, Grammar::Label next);

// An expression for texts of a format of JSON Schema, such as "date", though not for all of them; empty for a format
// that is not known.
std::string format_pattern(std::string_view format);
inline constexpr std::string_view kFormats = "date, time, date-time, uuid, email, hostname, ipv4 or uri";

}  // namespace v4rt
