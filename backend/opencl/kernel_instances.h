#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// The program text as one of several in a program, each with options of its own: what it defines (functions and types
// that begin at the beginning of a line) has `suffix` at the end of its name, and no macro outlives it.
std::string instance_of(std::string_view text, std::span<const std::string> definitions, std::string_view suffix);

}  // namespace v4rt
