#include "loaders/text/utf8.h"

#include <fmt/format.h>

#include <string>

#include "loaders/text/tokenizer.h"

namespace v4rt {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// The length of a character by its first byte, and the range of its second byte. Length 0: no character starts with
// that byte. Third and fourth bytes are always 80..BF.
struct Lead {
  size_t size;
  uint8_t low, high;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0)
    return {3, byte == 0xE0 ? uint8_t{0xA0} : uint8_t{0x80}, byte == 0xED ? uint8_t{0x9F} : uint8_t{0xBF}};
  if (byte < 0xF5)
    return {4, byte == 0xF0 ? uint8_t{0x90} : uint8_t{0x80}, byte == 0xF4 ? uint8_t{0x8F} : uint8_t{0xBF}};
  return {0, 0, 0};
}

}  // namespace

Utf8Unit next_utf8(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<uint8_t>(bytes[0]));
  if (lead.size == 0) return {Utf8Kind::kIllFormed, 1};
  for (size_t i = 1; i < lead.size; ++i) {
    if (i == bytes.size()) return {Utf8Kind::kTruncated, i};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const bool continues = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0) == 0x80;
    if (!continues) return {Utf8Kind::kIllFormed, i};
  }
  return {Utf8Kind::kCharacter, lead.size};
}

size_t uniform_run(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const bool well_formed = next_utf8(bytes).kind == Utf8Kind::kCharacter;
  size_t size = 0;
  while (size < bytes.size()) {
    const Utf8Unit unit = next_utf8(bytes.substr(size));
    if ((unit.kind == Utf8Kind::kCharacter) != well_formed) break;
    size += unit.size;
  }
  return size;
}

std::string escaped(std::string_view bytes) {
  std::string text;
  put_escaped(bytes, [&](std::string_view part) { text += part; });
  return text;
}

std::string escaped_lines(std::string_view bytes) {
  const size_t line = bytes.find('\n');
  if (line == std::string_view::npos) return escaped(bytes);
  return escaped(bytes.substr(0, line)) + "\n" + escaped_lines(bytes.substr(line + 1));
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string text;
  size_t done = 0;
  while (done < pending_.size()) {
    const Utf8Unit unit = next_utf8(std::string_view(pending_).substr(done));
    if (unit.kind == Utf8Kind::kTruncated) break;
    text += unit.kind == Utf8Kind::kCharacter ? std::string_view(pending_).substr(done, unit.size) : kReplacement;
    done += unit.size;
  }
  pending_.erase(0, done);
  return text;
}

std::string Utf8Stream::flush() {
  std::string text(pending_.empty() ? "" : kReplacement);
  pending_.clear();
  return text;
}

}  // namespace v4rt
