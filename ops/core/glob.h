#pragma once

#include <string>

namespace v4rt {

// Whether a shell pattern matches all of `text`: * is any run of characters, ? is any one, [0-3] one of a set. Dots and
// slashes are characters like others; a backslash is one too.
bool glob_match(const std::string& pattern, const std::string& text);

}  // namespace v4rt
