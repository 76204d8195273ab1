#include "graph/grammar/pattern.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "loaders/files/json.h"
#include "loaders/files/json_file.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using Label = Grammar::Label;

constexpr int64_t kNoEnd = JsonGrammar::kNoEnd;
constexpr int kMostGroups = 64;  // in each other

// One part of an expression: what matches once, and how often.
struct Part {
  enum class Kind : uint8_t { kCharacters, kGroup, kBegin, kEnd } kind = Kind::kCharacters;
  ByteSet ascii = {};                         // kCharacters: any of these,
  std::vector<std::string> others = {};       // of these, in UTF-8,
  bool any_other = false;                     // or of all that are not ASCII
  std::vector<std::vector<Part>> group = {};  // kGroup: one of these sequences
  int64_t least = 1, most = 1;
};
using Sequence = std::vector<Part>;

ByteSet ascii() { return byte_range(0, 0x7f); }
ByteSet digits() { return byte_range('0', '9'); }
ByteSet word() { return digits() | byte_range('a', 'z') | byte_range('A', 'Z') | byte_set("_"); }
ByteSet blanks() { return byte_set(" \t\n\r\f\v"); }

class Parser {
 public:
  Parser(std::string_view text, std::string_view place) : text_(text), place_(place) {}

  std::vector<Sequence> parse() {
    std::vector<Sequence> all = alternatives(0);
    if (at_ < text_.size()) refuse("a ) that nothing opens");
    return all;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(Code::kInvalidArgument, "{}: the pattern \"{}\" has at byte {} {}", place_, printable(text_), at_, what);
  }
  bool over() const { return at_ == text_.size(); }
  bool take(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  std::vector<Sequence> alternatives(int depth) {
    if (depth > kMostGroups) refuse("too many groups in each other");
    std::vector<Sequence> all(1);
    while (!over() && text_[at_] != ')') {
      if (take("|")) {
        all.emplace_back();
      } else {
        all.back().push_back(counted(one(depth)));
      }
    }
    return all;
  }

  Part one(int depth) {
    if (take("^")) return {.kind = Part::Kind::kBegin};
    if (take("$")) return {.kind = Part::Kind::kEnd};
    if (take(".")) return {.ascii = ascii() & ~byte_set("\n\r"), .any_other = true};
    if (take("[")) return characters();
    if (take("\\")) return escape(false);
    if (take("(")) {
      if (take("?") && !take(":") && !named()) refuse("look-around or the like, which is not supported");
      Part group{.kind = Part::Kind::kGroup, .group = alternatives(depth + 1)};
      if (!take(")")) refuse("a group without its )");
      return group;
    }
    if (std::string_view("*+?{}]").find(text_[at_]) != std::string_view::npos)
      refuse("a sign that would have to be escaped");
    return literal();
  }

  // (?<name>
  bool named() {
    if (!take("<") || text_.substr(at_).find_first_of("=!") == 0) return false;
    const size_t end = text_.find('>', at_);
    if (end == std::string_view::npos) return false;
    at_ = end + 1;
    return true;
  }

  Part literal() {
    const size_t size = utf8_size(text_[at_]);
    const std::string_view character = text_.substr(at_, size);
    at_ += size;
    if (size == 1) return {.ascii = byte_set(character)};
    return {.others = {std::string(character)}};
  }

  Part counted(Part part) {
    if (take("*")) {
      part.least = 0, part.most = kNoEnd;
    } else if (take("+")) {
      part.most = kNoEnd;
    } else if (take("?")) {
      part.least = 0;
    } else if (take("{")) {
      part.least = number();
      part.most = take(",") ? (text_.substr(at_).starts_with('}') ? kNoEnd : number()) : part.least;
      if (!take("}") || part.most < part.least) refuse("a count that is not {n}, {n,} or {n,m}");
    } else {
      return part;
    }
    take("?");  // how much it takes at first is of no concern here
    return part;
  }
  int64_t number() {
    int64_t n = 0;
    const size_t begin = at_;
    for (; !over() && text_[at_] >= '0' && text_[at_] <= '9' && n < 1'000'000; ++at_) n = n * 10 + (text_[at_] - '0');
    if (at_ == begin) refuse("no number where a count should be");
    return n;
  }

  // After a backslash.
  Part escape(bool in_class) {
    if (over()) refuse("nothing after a backslash");
    const char letter = text_[at_];
    static constexpr std::pair<char, char> kControls[] = {
        {'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'f', '\f'}, {'v', '\v'}};
    for (const auto& [name, byte] : kControls)
      if (letter == name) return ++at_, Part{.ascii = byte_set({&byte, 1})};
    switch (letter) {
      case 'd': return ++at_, Part{.ascii = digits()};
      case 'w': return ++at_, Part{.ascii = word()};
      case 's': return ++at_, Part{.ascii = blanks(), .others = {"\u00a0"}};  // one of many more
      case 'D': return ++at_, Part{.ascii = ascii() & ~digits(), .any_other = true};
      case 'W': return ++at_, Part{.ascii = ascii() & ~word(), .any_other = true};
      case 'S': return ++at_, Part{.ascii = ascii() & ~blanks()};
      default: break;
    }
    if (word()[static_cast<unsigned char>(letter)] && !(in_class && letter == '-'))
      refuse("an escape that is not supported");
    return literal();
  }

  // After a [.
  Part characters() {
    Part all;
    const bool inverse = take("^");
    while (!take("]")) {
      if (over()) refuse("a [ without its ]");
      const Part low = take("\\") ? escape(true) : literal();
      if (text_.substr(at_).starts_with('-') && !text_.substr(at_).starts_with("-]")) {
        ++at_;
        const Part high = take("\\") ? escape(true) : over() ? Part() : literal();
        const auto first = byte_of(low), last = byte_of(high);
        if (!first || !last || *first > *last)
          refuse("a range that is not of two ASCII characters, the lower one first");
        all.ascii |= byte_range(*first, *last);
      } else {
        all.ascii |= low.ascii;
        all.any_other |= low.any_other;
        all.others.insert(all.others.end(), low.others.begin(), low.others.end());
      }
    }
    if (!inverse) return all;
    return {.ascii = ascii() & ~all.ascii, .any_other = all.others.empty() && !all.any_other};
  }
  static std::optional<uint8_t> byte_of(const Part& part) {
    if (part.ascii.count() != 1 || !part.others.empty() || part.any_other) return std::nullopt;
    size_t byte = 0;
    while (!part.ascii[byte]) ++byte;
    return static_cast<uint8_t>(byte);
  }

  const std::string_view text_, place_;
  size_t at_ = 0;
};

class Writer {
 public:
  Writer(bool quoted, std::string_view place, GrammarBuilder& builder, JsonGrammar& json)
      : quoted_(quoted), place_(place), builder_(builder), json_(json) {}

  // Where an alternative does not say that it is all of the text, anything may stand around it.
  Label whole(std::vector<Sequence> all, Label next) {
    std::vector<Label> branches;
    for (Sequence& sequence : all) {
      const bool ends = !sequence.empty() && sequence.back().kind == Part::Kind::kEnd;
      if (ends) sequence.pop_back();
      const bool begins = !sequence.empty() && sequence.front().kind == Part::Kind::kBegin;
      if (begins) sequence.erase(sequence.begin());
      const Label end = ends ? next : json_.characters(0, kNoEnd, quoted_, next);
      const Label begin = write(sequence, end);
      branches.push_back(begins ? begin : json_.characters(0, kNoEnd, quoted_, begin));
    }
    return builder_.either(branches);
  }

 private:
  Label write(const Sequence& sequence, Label next) {
    for (size_t i = sequence.size(); i-- > 0;) next = write(sequence[i], next);
    return next;
  }
  Label write(const Part& part, Label next) {
    const auto once = [&](Label then) { return write_once(part, then); };
    if (part.most != kNoEnd) return builder_.repeat(part.least, part.most, next, once);
    const Label loop = builder_.declare();
    builder_.define(loop, builder_.either(once(loop), next));
    return builder_.repeat(part.least, part.least, loop, once);
  }
  Label write_once(const Part& part, Label next) {
    check(part.kind == Part::Kind::kCharacters || part.kind == Part::Kind::kGroup, Code::kInvalidArgument,
          "{}: the pattern has ^ or $ elsewhere than at its ends, which is not supported", place_);
    std::vector<Label> branches;
    if (part.kind == Part::Kind::kGroup) {
      for (const Sequence& sequence : part.group) branches.push_back(write(sequence, next));
      return builder_.either(branches);
    }
    const ByteSet escaped = quoted_ ? byte_range(0, 0x1f) | byte_set("\"\\") : ByteSet();
    branches.push_back(builder_.bytes(part.ascii & ~escaped, next));
    // Of what a string cannot hold as it is, only what an expression names is written, not what it leaves open.
    if (!part.any_other) {
      for (size_t byte = 0; byte < 0x80; ++byte) {
        if (!part.ascii[byte] || !escaped[byte]) continue;
        const std::string json = json_string(std::string(1, static_cast<char>(byte)));
        branches.push_back(builder_.literal(std::string_view(json).substr(1, json.size() - 2), next));
      }
    }
    for (const std::string& other : part.others) branches.push_back(builder_.literal(other, next));
    if (part.any_other) branches.push_back(json_.long_character(next));
    return builder_.either(branches);
  }

  const bool quoted_;
  const std::string_view place_;
  GrammarBuilder& builder_;
  JsonGrammar& json_;
};

}  // namespace

Label pattern(std::string_view expression, bool quoted, std::string_view place, GrammarBuilder& builder,
              JsonGrammar& json, Label next) {
  return Writer(quoted, place, builder, json).whole(Parser(expression, place).parse(), next);
}

std::string format_pattern(std::string_view format) {
  const std::string date =
      "[12]\\d{3}-((0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
  const std::string time = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", top = "\\.[A-Za-z]{2,8}";
  const std::string byte = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  const auto is = [](const std::string& all) { return "^" + all + "$"; };
  if (format == "date") return is(date);
  if (format == "time") return is(time);
  if (format == "date-time") return is(date + "T" + time);
  if (format == "uuid") return is("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
  if (format == "email")
    return is("[A-Za-z0-9_+-]{1,20}(\\.[A-Za-z0-9_+-]{1,20}){0,2}@" + label + "(\\." + label + ")?" + top);
  if (format == "hostname") return is(label + "(\\." + label + "){0,2}" + top);
  if (format == "ipv4") return is("(" + byte + "\\.){3}" + byte);
  if (format == "uri")
    return is("https?://" + label + "(\\." + label + "){0,2}" + top + "(/[A-Za-z0-9._~-]{0,40}){0,8}");
  return "";
}

}  // namespace v4rt
