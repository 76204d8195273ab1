#include "loaders/files/json_file.h"

#include <algorithm>

#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {

namespace {

// The word at which `text` stops being JSON, if it is a number that Python writes and JSON does not have (NaN,
// Infinity).
std::string_view python_number(std::string_view text, size_t at) {
  for (const std::string_view word : {"NaN", "Infinity"}) {
    if (text.substr(at).starts_with(word)) return word;
  }
  return {};
}

[[noreturn]] void fail_parsing(std::string_view text, std::string_view source, size_t byte) {
  const std::string_view number = python_number(text, std::max<size_t>(byte, 1) - 1);
  if (number.empty()) {
    fail(Code::kCorrupt, "{}: not valid JSON at byte {} of {}; the file is damaged or cut short", source, byte,
         text.size());
  }
  const size_t end = byte - 1 + number.size(), line = text.rfind('\n', byte - 1) + 1;
  const size_t begin = std::max(line, end - std::min<size_t>(end, 80));
  fail(Code::kCorrupt,
       "{}: line {}: {} is no number in JSON, though Python writes it ('{}'); write a number, or remove the key",
       source, std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(line), '\n') + 1, number,
       printable(text.substr(begin, end - begin)));
}

}  // namespace

std::string read_text_file(const std::string& path, size_t max_bytes) {
  return text_of(*MappedFile::open(path), max_bytes);
}

std::string text_of(const MappedFile& file, size_t max_bytes) {
  const auto bytes = file.bytes();
  check(bytes.size() <= max_bytes, Code::kCorrupt, "{}: is {} bytes long; a file of this kind has at most {}",
        file.path(), bytes.size(), max_bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

nlohmann::json parse_json(std::string_view text, std::string_view source) {
  constexpr int kMaxDepth = 64;
  using Event = nlohmann::json::parse_event_t;
  const auto limit_depth = [&](int depth, Event event, nlohmann::json&) {
    const bool opens = event == Event::object_start || event == Event::array_start;
    check(!opens || depth < kMaxDepth, Code::kCorrupt, "{}: JSON nested deeper than {} levels", source, kMaxDepth);
    return true;
  };
  try {
    return nlohmann::json::parse(text, limit_depth);
  } catch (const nlohmann::json::parse_error& e) {
    fail_parsing(text, source, e.byte);
  } catch (const nlohmann::json::exception& e) {
    fail(Code::kCorrupt, "{}: not usable JSON: {}", source, printable(e.what()));
  }
}

std::string printable(std::string_view text) {
  constexpr size_t kMax = 120;
  if (text.size() <= kMax) return escaped(text);
  size_t size = kMax;  // less if that would split a character
  while (size + 3 > kMax && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  return escaped(text.substr(0, size)) + "...";
}

}  // namespace v4rt
