#include "loaders/text/split_pattern.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

CodePoints only(uint32_t code) { return CodePoints{{code, code}}; }

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& name) : pattern_(pattern), name_(name) {}

  SplitPattern parse() {
    while (!at_end()) item();
    return std::move(items_);
  }

 private:
  bool at_end() const { return next_ == pattern_.size(); }
  std::string_view rest() const { return pattern_.substr(next_); }
  bool take(std::string_view text) {
    if (!rest().starts_with(text)) return false;
    next_ += text.size();
    return true;
  }

  template <class... Args>
  [[noreturn]] void refuse(size_t offset, fmt::format_string<Args...> format, Args&&... args) const {
    fail(Code::kUnsupported, "{}: bad regex at byte {} of {}: {}", name_, offset, pattern_.size(),
         fmt::format(format, std::forward<Args>(args)...));
  }

  void add(size_t offset, std::string syntax) { items_.push_back({std::move(syntax), offset}); }
  void add(size_t offset, CodePoints set) { items_.push_back({std::move(set), offset}); }

  void item() {
    const size_t offset = next_;
    if (take("\\")) return add(offset, escape(offset).set);
    if (take("[")) return add(offset, char_class(offset));
    if (take("(")) return add(offset, group(offset));
    if (take(".")) return add(offset, ~only('\n'));
    if (const char c = pattern_[next_]; std::string_view("|)^$").find(c) != std::string_view::npos) {
      ++next_;
      return add(offset, std::string(1, c));
    }
    if (std::optional<std::string> text = quantifier(offset)) return add(offset, std::move(*text));
    add(offset, only(character()));
  }

  uint32_t character() {
    const size_t size = next_utf8(rest()).size;
    const uint32_t code = decode_utf8(rest().substr(0, size));
    next_ += size;
    return code;
  }

  // An element of a class that is one character. A set like \d cannot begin or end a range.
  struct Atom {
    CodePoints set;
    std::optional<uint32_t> character;
  };

  // After the backslash at `offset`.
  Atom escape(size_t offset) {
    if (at_end()) refuse(offset, "a backslash at the end");
    const uint32_t c = character();
    constexpr std::string_view kNames = "ntrfvae", kControls = "\n\t\r\f\v\a\x1B";
    if (const size_t at = c < 0x80 ? kNames.find(static_cast<char>(c)) : std::string_view::npos;
        at != std::string_view::npos) {
      return literal(static_cast<uint8_t>(kControls[at]));
    }
    switch (c) {
      case 's': return {white_space(), {}};
      case 'S': return {~white_space(), {}};
      case 'd': return {*general_category("Nd"), {}};
      case 'D': return {~*general_category("Nd"), {}};
      case 'p': return {property(offset), {}};
      case 'P': return {~property(offset), {}};
      case 'x': return literal(hexadecimal(offset));
      default: break;
    }
    if (c < 0x80 && std::isalnum(static_cast<int>(c)) != 0)
      refuse(offset, "\\{} is not supported", static_cast<char>(c));
    return literal(c);
  }

  static Atom literal(uint32_t code) { return {only(code), code}; }

  // "{L}" or "{^L}", after \p.
  CodePoints property(size_t offset) {
    const size_t close = rest().find('}');
    if (!take("{") || close == std::string_view::npos) refuse(offset, "expected \\p{{..}}");
    const bool negated = take("^");
    const std::string_view property = rest().substr(0, rest().find('}'));
    const std::optional<CodePoints> set = general_category(property);
    if (!set) {
      refuse(offset, "unknown property \"{}\"; known are Unicode's general categories, such as L or Lu",
             property.substr(0, 40));
    }
    next_ += property.size() + 1;
    return negated ? ~*set : *set;
  }

  // "{4E00}", or one or two digits of an ASCII character, after \x.
  uint32_t hexadecimal(size_t offset) {
    const bool braces = take("{");
    const size_t size = std::min(braces ? rest().find('}') : size_t{2}, rest().size());
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(rest().data(), rest().data() + size, code, 16);
    const bool whole = error == std::errc() && end == rest().data() + size;
    next_ += size;
    if (!whole || code > (braces ? CodePoints::kLast : 0x7F) || (braces && !take("}")))
      refuse(offset, "expected \\x with a code point up to 7F, or \\x{{..}} with any");
    return code;
  }

  // After the bracket at `offset`.
  CodePoints char_class(size_t offset) {
    const bool negated = take("^");
    std::vector<CodePoints::Range> ranges;
    for (bool first = true; first || !take("]"); first = false) {
      if (at_end()) refuse(offset, "the class is not closed");
      const CodePoints item = class_item();
      ranges.insert(ranges.end(), item.ranges().begin(), item.ranges().end());
    }
    const CodePoints set(std::move(ranges));
    return negated ? ~set : set;
  }

  CodePoints class_item() {
    const size_t offset = next_;
    const Atom low = class_atom();
    if (!rest().starts_with("-") || rest().starts_with("-]")) return low.set;
    take("-");
    if (at_end()) return low.set;  // an unclosed class, which char_class says
    const Atom high = class_atom();
    if (!low.character || !high.character || *low.character > *high.character)
      refuse(offset, "a range needs two characters in ascending order; write \\- for the character");
    return CodePoints{{*low.character, *high.character}};
  }

  Atom class_atom() {
    const size_t offset = next_;
    if (take("\\")) return escape(offset);
    if (rest().starts_with("[") || rest().starts_with("&&")) {
      refuse(offset, "classes within classes are not supported; write \\[ or \\& for the character");
    }
    return literal(character());
  }

  // After the parenthesis at `offset`.
  std::string group(size_t offset) {
    for (const char* opening : {"?:", "?=", "?!", "?<=", "?<!", "?>"})
      if (take(opening)) return std::string("(") + opening;
    if (rest().starts_with("?") || rest().starts_with("*"))
      refuse(offset, "({}: only groups without names and look-around are supported", rest().substr(0, 1));
    return "(?:";
  }

  // "*", "+", "?" and intervals, each maybe followed by "?" (lazy) or "+" (possessive). A brace that begins no
  // interval is a character.
  std::optional<std::string> quantifier(size_t offset) {
    std::string text;
    if (const char c = pattern_[next_]; c == '*' || c == '+' || c == '?') {
      ++next_;
      text = c;
      if (!take("?")) return text + (take("+") ? "+" : "");
      return text + "?";
    }
    if (!take("{")) return std::nullopt;
    const std::string_view bounds = rest().substr(0, std::min(rest().find('}'), rest().size()));
    const size_t comma = std::min(bounds.find(','), bounds.size());
    const auto is_number = [](std::string_view digits) {
      return !digits.empty() && digits.size() < 10 && digits.find_first_not_of("0123456789") == std::string_view::npos;
    };
    const std::string_view low = bounds.substr(0, comma), high = bounds.substr(std::min(comma + 1, bounds.size()));
    const bool fixed = comma == bounds.size();
    const bool interval = bounds.size() < rest().size() && (low.empty() ? !fixed && is_number(high) : is_number(low)) &&
                          (high.empty() || is_number(high));
    if (!interval) {
      next_ = offset;
      return std::nullopt;
    }
    next_ += bounds.size() + 1;
    if (rest().starts_with("+") || (fixed && rest().starts_with("?")))
      refuse(offset, "an interval cannot be followed by {}; put it into (?:..) first", rest().substr(0, 1));
    text = fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, fixed ? "" : ",", high);
    return text + (take("?") ? "?" : "");
  }

  std::string_view pattern_;
  const std::string& name_;
  size_t next_ = 0;
  SplitPattern items_;
};

}  // namespace

SplitPattern parse_pattern(std::string_view pattern, const std::string& name) { return Parser(pattern, name).parse(); }

SplitPattern literal_pattern(std::string_view text) {
  SplitPattern items;
  for (size_t i = 0; i < text.size();) {
    const size_t size = next_utf8(text.substr(i)).size;
    items.push_back({only(decode_utf8(text.substr(i, size))), i});
    i += size;
  }
  return items;
}

}  // namespace v4rt
