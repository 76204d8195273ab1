#include "graph/grammar/json_grammar.h"

#include <algorithm>

#include "loaders/files/json.h"
#include "loaders/text/utf8.h"

namespace v4rt {
namespace {

constexpr int kIndentation = 20, kDigits = 15, kExponentDigits = 2;
constexpr Grammar::Label kReturn = GrammarBuilder::kReturn;

ByteSet plain() { return byte_range(0x20, 0x7f) & ~byte_set("\"\\"); }
ByteSet digits(char from = '0') { return byte_range(static_cast<uint8_t>(from), '9'); }
ByteSet hex() { return digits() | byte_range('a', 'f') | byte_range('A', 'F'); }

}  // namespace

JsonGrammar::JsonGrammar(GrammarBuilder& builder) : builder_(builder) {
  const auto blank = [&](Label next) { return builder_.bytes(byte_set(" \t"), next); };
  const Label line = builder_.literal("\n", builder_.repeat(0, kIndentation, kReturn, blank));
  space_ = builder_.either(builder_.literal(" ", kReturn), builder_.either(line, kReturn));
  long_ = long_characters();
  escape_ = unicode_escape();
  number_ = number_rule(false);
  integer_ = number_rule(true);
  value_ = builder_.declare();
  object_ = object({}, value_);
  array_ = array({}, value_, 0, kNoEnd);
  const Label string = builder_.literal("\"", characters(0, kNoEnd, true, builder_.literal("\"", kReturn)));
  const Label values[] = {object_,
                          array_,
                          string,
                          number_,
                          builder_.literal("true", kReturn),
                          builder_.literal("false", kReturn),
                          builder_.literal("null", kReturn)};
  builder_.define(value_, builder_.either(values));
}

// Characters of more than one byte, as Unicode's table 3-7 has them.
JsonGrammar::Label JsonGrammar::long_characters() {
  const auto range = [&](uint8_t low, uint8_t high, Label next) { return builder_.bytes(byte_range(low, high), next); };
  const Label one = range(0x80, 0xbf, kReturn), two = range(0x80, 0xbf, one), three = range(0x80, 0xbf, two);
  const Label forms[] = {range(0xc2, 0xdf, one),   range(0xe0, 0xe0, range(0xa0, 0xbf, one)),
                         range(0xe1, 0xec, two),   range(0xed, 0xed, range(0x80, 0x9f, one)),
                         range(0xee, 0xef, two),   range(0xf0, 0xf0, range(0x90, 0xbf, two)),
                         range(0xf1, 0xf3, three), range(0xf4, 0xf4, range(0x80, 0x8f, two))};
  return builder_.either(forms);
}

// What follows a backslash. Halves of surrogate pairs come together.
JsonGrammar::Label JsonGrammar::unicode_escape() {
  const auto of = [&](const ByteSet& set, Label next) { return builder_.bytes(set, next); };
  const Label one = of(hex(), kReturn), two = of(hex(), one), three = of(hex(), two);
  const Label low = builder_.literal("\\u", of(byte_set("dD"), of(byte_set("cdefCDEF"), two)));
  const Label high = of(byte_set("89abAB"), of(hex(), of(hex(), low)));
  const Label digits_of_code[] = {of(hex() & ~byte_set("dD"), three),
                                  of(byte_set("dD"), builder_.either(of(byte_range('0', '7'), two), high))};
  return builder_.either(of(byte_set("\"\\/bfnrt"), kReturn), builder_.literal("u", builder_.either(digits_of_code)));
}

JsonGrammar::Label JsonGrammar::number_rule(bool whole) {
  const auto digit = [&](Label next) { return builder_.bytes(digits(), next); };
  Label rest = kReturn;
  if (!whole) {
    const Label power = builder_.repeat(1, kExponentDigits, kReturn, digit);
    const Label sign = builder_.either(builder_.bytes(byte_set("+-"), power), power);
    const Label exponent = builder_.either(builder_.bytes(byte_set("eE"), sign), kReturn);
    rest = builder_.either(builder_.literal(".", builder_.repeat(1, kDigits, exponent, digit)), exponent);
  }
  const Label many = builder_.bytes(digits('1'), builder_.repeat(0, kDigits - 1, rest, digit));
  const Label size = builder_.either(builder_.literal("0", rest), many);
  return builder_.either(builder_.literal("-", size), size);
}

JsonGrammar::Label JsonGrammar::characters(int64_t least, int64_t most, bool quoted, Label next) {
  const auto one = [&](Label then, int32_t run) {
    const Label escape = builder_.literal("\\", builder_.call(escape_, then));
    const Label branches[] = {builder_.bytes(quoted ? plain() : byte_range(0, 0x7f), then, run),
                              builder_.call(long_, then), escape};
    return builder_.either(std::span(branches).first(quoted ? 3 : 2));
  };
  const auto run_of = [](int64_t n) { return static_cast<int32_t>(std::min<int64_t>(n, kAnyRun - 1)); };
  Label entry = next;
  if (most == kNoEnd) {
    entry = builder_.declare();
    builder_.define(entry, builder_.either(one(entry, kAnyRun), next));
    for (int64_t i = 0; i < least; ++i) entry = one(entry, kAnyRun);
    return entry;
  }
  int64_t left = 0;  // characters that may come from the place on that is being written
  for (; left < most - least; ++left) entry = builder_.either(one(entry, run_of(left + 1)), next);
  for (; left < most; ++left) entry = one(entry, run_of(left + 1));
  return entry;
}

JsonGrammar::Label JsonGrammar::quoted(std::string_view text, Label next) {
  return builder_.literal(json_string(text), next);
}

JsonGrammar::Label JsonGrammar::array(const std::vector<Label>& items, std::optional<Label> rest, int64_t least,
                                      int64_t most) {
  const auto fixed = static_cast<int64_t>(items.size());
  if (!rest) most = std::min(most, fixed);
  if (least > most) return builder_.either({});
  const Label close = builder_.literal("]", kReturn);
  const auto item = [&](int64_t i, Label next) {
    return builder_.call(i < fixed ? items[static_cast<size_t>(i)] : *rest, next);
  };
  // The place after item i - 1, which is behind those of later ones.
  const int64_t last = most == kNoEnd ? std::max({fixed, least, int64_t{1}}) : most;
  Label place = builder_.declare(), first = close;
  if (most == kNoEnd) {
    const Label more = builder_.literal(",", space(item(last, place)));
    builder_.define(place, space(builder_.either(close, more)));
  } else {
    builder_.define(place, space(close));
  }
  for (int64_t i = last - 1; i >= 0; --i) {
    const Label one = item(i, place);
    first = i >= least ? builder_.either(close, one) : one;
    const Label more = builder_.literal(",", space(one));
    place = space(i >= least ? builder_.either(close, more) : more);
  }
  return builder_.literal("[", space(first));
}

JsonGrammar::Label JsonGrammar::object(const std::vector<Member>& members, std::optional<Label> others) {
  const Label close = builder_.literal("}", kReturn);
  Label after = builder_.declare(), first = close;  // a member was written; none was
  if (others) {
    std::vector<std::string_view> names;
    for (const Member& member : members) names.push_back(member.name);
    std::ranges::sort(names);
    const Label value = builder_.literal(":", space(builder_.call(*others, after)));
    const Label end = builder_.literal("\"", space(value));
    const Label other = builder_.literal("\"", other_name(names, 0, characters(0, kNoEnd, true, end), end));
    builder_.define(after, space(builder_.either(close, builder_.literal(",", space(other)))));
    first = builder_.either(close, other);
  } else {
    builder_.define(after, space(close));
  }
  for (size_t i = members.size(); i-- > 0;) {
    const Member& member = members[i];
    const Label value = builder_.literal(":", space(builder_.call(member.value, after)));
    const Label one = quoted(member.name, space(value));
    const Label next = space(builder_.literal(",", space(one)));
    first = member.required ? one : builder_.either(one, first);
    after = member.required ? next : builder_.either(next, after);
  }
  return builder_.literal("{", space(first));
}

// What follows `at` bytes of a name that is none of `names`, which are sorted and agree up to there. Until it differs
// from all of them, and `rest` follows, it has no escapes, which could spell one.
JsonGrammar::Label JsonGrammar::other_name(std::vector<std::string_view> names, size_t at, Label rest, Label next) {
  if (names.empty()) return rest;
  std::vector<Label> branches;
  if (names.front().size() == at) {  // it has to be longer
    names.erase(names.begin(), std::ranges::find_if(names, [&](auto name) { return name.size() > at; }));
  } else {
    branches.push_back(next);
  }
  ByteSet free = plain();
  bool any_long = true;
  for (size_t i = 0; i < names.size();) {
    const std::string_view character = names[i].substr(at, utf8_size(names[i][at]));
    size_t end = i;
    while (end < names.size() && names[end].substr(at, character.size()) == character) ++end;
    const std::vector<std::string_view> same(names.begin() + static_cast<ptrdiff_t>(i),
                                             names.begin() + static_cast<ptrdiff_t>(end));
    i = end;
    any_long &= character.size() == 1;
    if (character.size() == 1 && !free[static_cast<unsigned char>(character[0])]) continue;  // only an escape spells it
    if (character.size() == 1) free.reset(static_cast<unsigned char>(character[0]));
    branches.push_back(builder_.literal(character, other_name(same, at + character.size(), rest, next)));
  }
  branches.push_back(builder_.bytes(free, rest));
  if (any_long) branches.push_back(builder_.call(long_, rest));
  return builder_.either(branches);
}

}  // namespace v4rt
