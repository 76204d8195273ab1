#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/grammar/grammar.h"

namespace v4rt {

// JSON as a model writes it: a space, or a line's end and its indentation, between tokens, and never more white space;
// numbers of at most 15 digits, so that every reader sees the same.
class JsonGrammar {
 public:
  using Label = Grammar::Label;
  static constexpr int64_t kNoEnd = INT64_MAX;

  explicit JsonGrammar(GrammarBuilder& builder);

  Label space(Label next) { return builder_.call(space_, next); }
  // The inside of a string, or text that is not in quotes and may hold anything but control tokens.
  Label characters(int64_t least, int64_t most, bool quoted, Label next);
  Label quoted(std::string_view text, Label next);                         // this string
  Label long_character(Label next) { return builder_.call(long_, next); }  // any of more than one byte

  // What ends in a return, to be called.
  Label number() const { return number_; }
  Label integer() const { return integer_; }
  Label value() const { return value_; }
  Label any_object() const { return object_; }
  Label any_array() const { return array_; }

  // First `items`, of which some may be left out at the end, then as many of `rest` as it takes, if there may be any.
  Label array(const std::vector<Label>& items, std::optional<Label> rest, int64_t least, int64_t most);
  struct Member {
    std::string name;
    Label value;
    bool required;
  };
  // Members in this order, then others, if there may be any.
  Label object(const std::vector<Member>& members, std::optional<Label> others);

 private:
  Label other_name(std::vector<std::string_view> names, size_t at, Label rest, Label next);
  Label unicode_escape();
  Label long_characters();
  Label number_rule(bool whole);

  GrammarBuilder& builder_;
  Label space_, long_, escape_, number_, integer_, value_, object_, array_;
};

}  // namespace v4rt
