#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace v4rt {

// What a sequence of bytes that may not be UTF-8 starts with. Well-formed means Unicode's table 3-7: no overlong forms,
// no surrogates, nothing above U+10FFFF.
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

// The code point that well-formed bytes begin with.
inline uint32_t decode_utf8(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  const auto more = [&](size_t i) { return at(i) & 0x3F; };
  if (at(0) < 0x80) return at(0);
  if (at(0) < 0xE0) return (at(0) & 0x1F) << 6 | more(1);
  if (at(0) < 0xF0) return (at(0) & 0x0F) << 12 | more(1) << 6 | more(2);
  return (at(0) & 0x07) << 18 | more(1) << 12 | more(2) << 6 | more(3);
}

// The bytes of the character that begins with `lead`, in well-formed text.
inline size_t utf8_size(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// Length of the run at the start of `bytes` that is well-formed throughout, or that is ill-formed throughout (here a
// truncated end counts as ill-formed). 0 only for no bytes.
size_t uniform_run(std::string_view bytes);

// Any bytes, made safe for one line of a message: control characters (C0, DEL, C1; also line ends) and bytes that are
// not UTF-8 become \x1b and the like. A terminal finds no command in the result.
std::string escaped(std::string_view bytes);

// The same, passed to `put` piece by piece and without allocating, for a signal handler.
template <class Put>
void put_escaped(std::string_view bytes, const Put& put) {
  while (!bytes.empty()) {
    const Utf8Unit unit = next_utf8(bytes);
    const std::string_view part = bytes.substr(0, unit.size);
    bytes.remove_prefix(unit.size);
    const uint32_t code = unit.kind == Utf8Kind::kCharacter ? decode_utf8(part) : 0;
    if (code >= 0x20 && (code < 0x7F || code >= 0xA0)) {
      put(part);
      continue;
    }
    for (const char c : part) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const auto byte = static_cast<uint8_t>(c);
      const char shown[] = {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
      put(std::string_view(shown, sizeof(shown)));
    }
  }
}

// The same for a message of several lines; line ends stay.
std::string escaped_lines(std::string_view bytes);

}  // namespace v4rt
