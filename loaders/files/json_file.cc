#include "loaders/files/json_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

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

// Of members with the same key the last value goes where the first stands.
void join_repeated(Json::Object& members) {
  std::vector<size_t> order(members.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) -> const std::string& { return members[i].key; });
  std::vector<bool> gone(members.size());
  size_t first = 0;
  for (size_t i = 1; i < order.size(); ++i) {
    if (members[order[first]].key != members[order[i]].key) {
      first = i;
      continue;
    }
    members[order[first]].value = std::move(members[order[i]].value);
    gone[order[i]] = true;
  }
  std::erase_if(members,
                [&](const Json::Member& member) { return gone[static_cast<size_t>(&member - members.data())]; });
}

// What nlohmann's parser calls. Values are put where they belong when they are complete.
class Builder {
 public:
  Builder(std::string_view text, std::string_view source, Code code) : text_(text), source_(source), code_(code) {}
  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) { return put(value); }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string& digits) {
    if (digits.find_first_of(".eE") != std::string::npos) return put(value);
    return put(Json::Digits{digits});
  }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(nlohmann::json::binary_t&) { return false; }  // there is none in a text
  bool start_object(size_t) { return open(true); }
  bool key(std::string& value) {
    open_.back().members.push_back({std::move(value), {}});
    return true;
  }
  bool end_object() {
    Json::Object members = std::move(open_.back().members);
    join_repeated(members);
    open_.pop_back();
    return put(std::move(members));
  }
  bool start_array(size_t) { return open(false); }
  bool end_array() {
    Json::Array items = std::move(open_.back().items);
    open_.pop_back();
    return put(std::move(items));
  }
  bool parse_error(size_t byte, const std::string&, const nlohmann::json::exception& e) {
    if (code_ != Code::kCorrupt) fail(code_, "{}: not valid JSON at byte {}", source_, byte);
    if (dynamic_cast<const nlohmann::json::parse_error*>(&e) != nullptr) fail_parsing(text_, source_, byte);
    fail(code_, "{}: not usable JSON: {}", source_, printable(e.what()));
  }

 private:
  struct Open {
    bool is_object;
    Json::Array items;
    Json::Object members;
  };

  bool put(Json value) {
    if (open_.empty())
      root_ = std::move(value);
    else if (open_.back().is_object)
      open_.back().members.back().value = std::move(value);
    else
      open_.back().items.push_back(std::move(value));
    return true;
  }
  bool open(bool is_object) {
    constexpr size_t kMaxDepth = 64;
    check(open_.size() < kMaxDepth, code_, "{}: JSON nested deeper than {} levels", source_, kMaxDepth);
    open_.push_back({is_object, {}, {}});
    return true;
  }

  const std::string_view text_, source_;
  const Code code_;
  Json root_;
  std::vector<Open> open_;
};

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

Json parse_json(std::string_view text, std::string_view source) {
  Builder builder(text, source, Code::kCorrupt);
  nlohmann::json::sax_parse(text, &builder);
  return builder.take();
}

Json parse_request_json(std::string_view text, std::string_view source) {
  Builder builder(text, source, Code::kInvalidArgument);
  nlohmann::json::sax_parse(text, &builder);
  return builder.take();
}

std::string printable(std::string_view text) {
  constexpr size_t kMax = 120;
  if (text.size() <= kMax) return escaped(text);
  size_t size = kMax;  // less if that would split a character
  while (size + 3 > kMax && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  return escaped(text.substr(0, size)) + "...";
}

}  // namespace v4rt
