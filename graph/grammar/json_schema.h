#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graph/grammar/json_grammar.h"
#include "loaders/text/json_field.h"

namespace v4rt {

// Grammars of JSON schemas: type, enum, const, anyOf, allOf of one, oneOf where no value can be of two, $ref within the
// schema; properties, required, additionalProperties; items, prefixItems, minItems, maxItems; minLength and maxLength,
// or pattern, or format; minimum, maximum and the exclusive ones. Members come in the order of the schema, and those
// that it does not name only where it says what they are, or names none. Throws Error(kInvalidArgument) for any other
// keyword that would count, with its place.
class JsonSchema {
 public:
  using Label = Grammar::Label;

  // What `builder` makes is complete after resolve().
  JsonSchema(const JsonField& root, GrammarBuilder& builder, JsonGrammar& json)
      : root_(root), builder_(builder), json_(json) {}

  Label value() { return value(root_); }
  Label value(const JsonField& schema);  // to be called
  void resolve();

  // A parameter of a tool: a string as it is, or anything else as JSON. Each is followed by the same; -1: there is
  // none.
  struct Branches {
    Label text = -1, json = -1;
  };
  Branches parameter(const JsonField& schema, Label next);
  struct Property {
    std::string name;
    JsonField schema;
    bool required;
  };
  std::vector<Property> properties() const { return properties(root_); }

 private:
  // A schema without alternatives: of one type, "const" of one value, or "any".
  struct Simple {
    std::string type;
    JsonField schema;
  };

  std::vector<Simple> alternatives(const JsonField& schema) const;
  void expand(const JsonField& schema, size_t& steps, std::vector<Simple>& out) const;
  void expand_values(const JsonField& schema, std::vector<Simple>& out) const;
  JsonField target(const JsonField& reference) const;
  std::vector<Property> properties(const JsonField& schema) const;
  void check_apart(const JsonField& schema, std::span<const Simple> some, std::span<const Simple> others,
                   size_t& steps) const;
  bool are_apart(const Simple& a, const Simple& b, size_t& steps) const;
  Label rule(const Simple& simple);
  Label characters(const JsonField& schema, bool quoted, Label next);
  Label object(const JsonField& schema);
  Label array(const JsonField& schema);

  const JsonField root_;
  GrammarBuilder& builder_;
  JsonGrammar& json_;
  std::map<const Json*, Label> known_;
  std::vector<std::pair<Label, JsonField>> left_;  // that values lead to, and nothing was written for yet
};

}  // namespace v4rt
