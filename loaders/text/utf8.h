#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace v4rt {

// What bytes that may or may not be UTF-8 start with. Well-formed means Unicode's table 3-7: no overlong forms, no
// surrogates, nothing above U+10FFFF.
enum class Utf8Kind : uint8_t {
  kCharacter,  // one well-formed character
  kTruncated,  // all that is left is the correct start of a longer character
  kIllFormed,  // the longest correct start of a character (at least one byte), which the next byte does not continue
};

struct Utf8Unit {
  Utf8Kind kind;
  size_t size;
};

Utf8Unit next_utf8(std::string_view bytes);  // bytes must not be empty

// Length of the run at the start of `bytes` that is well-formed throughout, or that is ill-formed throughout (here a
// truncated end counts as ill-formed). 0 only for no bytes.
size_t uniform_run(std::string_view bytes);

}  // namespace v4rt
