#include "graph/grammar/json_schema.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>

#include "graph/grammar/number_range.h"
#include "graph/grammar/pattern.h"
#include "loaders/files/json_file.h"

namespace v4rt {
namespace {

using Label = Grammar::Label;
constexpr Label kReturn = GrammarBuilder::kReturn;
constexpr size_t kMostSteps = 4096;  // to all alternatives of a schema
constexpr size_t kMostSchemas = 4096, kMostNameBytes = 256;

using Names = std::span<const std::string_view>;
constexpr std::string_view kAnnotations[] = {"title", "description", "default",      "examples", "$schema",
                                             "$id",   "$comment",    "deprecated",   "readOnly", "writeOnly",
                                             "$defs", "definitions", "discriminator"};
constexpr std::string_view kOfObjects[] = {"properties", "required", "additionalProperties"};
constexpr std::string_view kOfArrays[] = {"items", "prefixItems", "minItems", "maxItems"};
constexpr std::string_view kOfStrings[] = {"minLength", "maxLength", "pattern", "format"};
constexpr std::string_view kOfNumbers[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
constexpr std::string_view kTypeOnly[] = {"type"}, kOfValues[] = {"type", "enum", "const"}, kReference[] = {"$ref"};
constexpr std::string_view kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

bool is_one(std::string_view name, Names names) { return std::ranges::find(names, name) != names.end(); }
bool has_one(const JsonField& schema, Names names) {
  return std::ranges::any_of(names, [&](std::string_view name) { return schema.value().contains(name); });
}

// `schema` has no keywords that count but these.
void check_keywords(const JsonField& schema, std::initializer_list<Names> taken, std::string_view beside) {
  for (const auto& [keyword, value] : schema.object().value().object()) {
    const auto takes = [&name = keyword](Names names) { return is_one(name, names); };
    check(takes(kAnnotations) || keyword.starts_with("x-") || std::ranges::any_of(taken, takes), Code::kInvalidArgument,
          "{}: the keyword \"{}\" is not supported{}", schema.place().empty() ? "the schema" : schema.place(),
          printable(keyword), beside);
  }
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  const bool whole = value.is_integer() || value.is_digits();
  return whole || (type == "number" && value.is_number());
}

// The types that `schema` names, or that its keywords are about.
std::vector<std::string> types_of(const JsonField& schema) {
  const JsonField type = schema["type"];
  std::vector<std::string> types;
  if (type.is_array()) {
    for (size_t i = 0; i < type.size(); ++i) types.push_back(type[i].string());
  } else if (type.present()) {
    types.push_back(type.string());
  } else {
    types.emplace_back(has_one(schema, kOfObjects)   ? "object"
                       : has_one(schema, kOfArrays)  ? "array"
                       : has_one(schema, kOfStrings) ? "string"
                       : has_one(schema, kOfNumbers) ? "number"
                                                     : "any");
  }
  for (const std::string& one : types)
    if (one != "any" && !is_one(one, kTypes))
      type.refuse("a type of JSON: object, array, string, number, integer, boolean or null");
  return types;
}

// "/$defs/a~1b/0", as RFC 6901 says: nullptr where nothing is there.
const Json* at_pointer(const Json& root, std::string_view pointer) {
  const Json* at = &root;
  while (!pointer.empty() && at != nullptr) {
    const size_t end = std::min(pointer.find('/', 1), pointer.size());
    std::string key(pointer.substr(1, end - 1));
    pointer.remove_prefix(end);
    if (at->is_array()) {
      size_t i = 0;
      const auto [rest, error] = std::from_chars(key.data(), key.data() + key.size(), i);
      const bool whole = error == std::errc() && rest == key.data() + key.size() && i < at->array().size();
      at = whole ? &at->array()[i] : nullptr;
      continue;
    }
    for (size_t tilde = 0; (tilde = key.find('~', tilde)) != std::string::npos; ++tilde) {
      if (tilde + 1 == key.size() || (key[tilde + 1] != '0' && key[tilde + 1] != '1')) return nullptr;
      key.replace(tilde, 2, key[tilde + 1] == '0' ? "~" : "/");
    }
    at = at->find(key);
  }
  return at;
}

JsonField member(const JsonField& object, const std::string& name) {
  constexpr size_t kLong = 300;  // places are for messages
  const std::string place = object.place().size() > kLong ? "..." : object.place();
  return {*object.value().find(name), fmt::format("{}{}{}", place, place.empty() ? "" : ".", printable(name))};
}

NumberRange range_of(const JsonField& schema) {
  NumberRange range;
  constexpr double kMost = 1e300;
  const auto bound = [&](const char* keyword, double otherwise) {
    return schema[keyword].number(-kMost, kMost, otherwise);
  };
  range.low = std::max(range.low, bound("minimum", range.low));
  range.high = std::min(range.high, bound("maximum", range.high));
  if (const double low = bound("exclusiveMinimum", -kMost); low >= range.low) range.low = low, range.without_low = true;
  if (const double high = bound("exclusiveMaximum", kMost); high <= range.high)
    range.high = high, range.without_high = true;
  return range;
}

std::pair<int64_t, int64_t> counts(const JsonField& schema, const char* least, const char* most) {
  return {schema[least].whole(0, INT64_MAX, 0), schema[most].whole(0, INT64_MAX, JsonGrammar::kNoEnd)};
}

}  // namespace

Label JsonSchema::value(const JsonField& schema) {
  const auto [found, fresh] = known_.try_emplace(&schema.value(), 0);
  if (!fresh) return found->second;
  check(known_.size() <= kMostSchemas, Code::kInvalidArgument, "{}: more than {} schemas in one", root_.place(),
        kMostSchemas);
  found->second = builder_.declare();
  left_.emplace_back(found->second, schema);
  return found->second;
}

void JsonSchema::resolve() {
  while (!left_.empty()) {
    const auto [label, schema] = left_.back();
    left_.pop_back();
    std::vector<Label> rules;
    std::vector<std::string> values;
    for (const Simple& simple : alternatives(schema)) {
      if (simple.type == "const") {
        values.push_back(simple.schema.value().python());
      } else {
        rules.push_back(rule(simple));
      }
    }
    if (!values.empty()) rules.push_back(builder_.one_of(std::move(values), kReturn));
    builder_.define(label, builder_.either(rules));
  }
}

JsonSchema::Branches JsonSchema::parameter(const JsonField& schema, Label next) {
  std::vector<Label> text, json;
  std::vector<std::string> texts, values;
  for (const Simple& simple : alternatives(schema)) {
    if (simple.type == "string") {
      text.push_back(characters(simple.schema, false, next));
    } else if (simple.type == "const") {
      const JsonField& value = simple.schema;
      value.is_string() ? texts.push_back(value.string()) : values.push_back(value.value().python());
    } else {
      json.push_back(builder_.call(rule(simple), next));
    }
  }
  if (!texts.empty()) text.push_back(builder_.one_of(std::move(texts), next));
  if (!values.empty()) json.push_back(builder_.one_of(std::move(values), next));
  return {text.empty() ? -1 : builder_.either(text), json.empty() ? -1 : builder_.either(json)};
}

std::vector<JsonSchema::Simple> JsonSchema::alternatives(const JsonField& schema) const {
  std::vector<Simple> all;
  size_t steps = 0;
  expand(schema, steps, all);
  return all;
}

void JsonSchema::expand(const JsonField& schema, size_t& steps, std::vector<Simple>& out) const {
  check(++steps < kMostSteps, Code::kInvalidArgument,
        "{}: more than {} alternatives, or references that lead in circles", root_.place(), kMostSteps);
  if (schema.value().is_boolean()) {
    if (schema.value().boolean()) out.push_back({"any", schema});
    return;
  }
  schema.object();
  if (schema["$ref"].present()) {
    check_keywords(schema, {kReference}, " beside $ref");
    return expand(target(schema["$ref"]), steps, out);
  }
  for (const char* const keyword : {"anyOf", "oneOf", "allOf"}) {
    const JsonField list = schema[keyword];
    if (!list.present()) continue;
    const std::string_view only[] = {keyword};
    check_keywords(schema, {only}, fmt::format(" beside {}", keyword));
    check(only[0] != "allOf" || list.size() == 1, Code::kInvalidArgument,
          "{}: only an allOf of one schema is supported", schema.place());
    for (size_t i = 0; i < list.size(); ++i) {
      std::vector<Simple> more;
      expand(list[i], steps, more);
      if (only[0] == "oneOf") check_apart(schema, out, more, steps);
      out.insert(out.end(), more.begin(), more.end());
    }
    return;
  }
  if (schema.value().contains("enum") || schema.value().contains("const")) return expand_values(schema, out);
  check_keywords(schema, {kTypeOnly, kOfObjects, kOfArrays, kOfStrings, kOfNumbers}, "");
  for (const std::string& type : types_of(schema)) out.push_back({type, schema});
}

void JsonSchema::expand_values(const JsonField& schema, std::vector<Simple>& out) const {
  check_keywords(schema, {kOfValues}, " beside enum and const");
  const std::vector<std::string> types = types_of(schema);
  const auto add = [&](const JsonField& value) {
    const auto fits = [&](const std::string& type) { return type == "any" || has_type(value.value(), type); };
    if (std::ranges::any_of(types, fits)) out.push_back({"const", value});
  };
  if (schema.value().contains("const")) return add(member(schema, "const"));
  const JsonField list = schema["enum"];
  for (size_t i = 0; i < list.size(); ++i) add(list[i]);
}

// That no value is of both: oneOf is anyOf then.
void JsonSchema::check_apart(const JsonField& schema, std::span<const Simple> some, std::span<const Simple> others,
                             size_t& steps) const {
  for (const Simple& a : some)
    for (const Simple& b : others)
      check(
          are_apart(a, b, steps), Code::kInvalidArgument,
          "{}: a value may be of two schemas of this oneOf; make a required member another const in each, or use anyOf",
          schema.place());
}

bool JsonSchema::are_apart(const Simple& a, const Simple& b, size_t& steps) const {
  const auto kind = [](const Simple& simple) -> std::string {
    const Json& value = simple.schema.value();
    if (simple.type == "integer" || (simple.type == "const" && has_type(value, "number"))) return "number";
    return simple.type == "const" ? value.type_name() : simple.type;
  };
  if (kind(a) != kind(b)) return kind(a) != "any" && kind(b) != "any";
  const auto differ = [](const Simple& one, const Simple& other) {
    return one.type == "const" && other.type == "const" && one.schema.value() != other.schema.value();
  };
  if (differ(a, b)) return true;
  if (a.type != "object" || b.type != "object") return false;
  const std::vector<Property> others = properties(b.schema);
  return std::ranges::any_of(properties(a.schema), [&](const Property& property) {
    const auto same = std::ranges::find(others, property.name, &Property::name);
    if (!property.required || same == others.end() || !same->required) return false;
    std::vector<Simple> here, there;
    expand(property.schema, steps, here);
    expand(same->schema, steps, there);
    return std::ranges::all_of(here, [&](const Simple& one) {
      return std::ranges::all_of(there, [&](const Simple& other) { return differ(one, other); });
    });
  });
}

JsonField JsonSchema::target(const JsonField& reference) const {
  const std::string& path = reference.string();
  if (path == "#") return root_;
  if (!path.starts_with("#/")) reference.refuse("a place in this schema, such as #/$defs/name");
  const Json* const found = at_pointer(root_.value(), std::string_view(path).substr(1));
  if (found == nullptr) reference.refuse("a place in this schema: nothing is there");
  return {*found, root_.place() + printable(path)};
}

Label JsonSchema::rule(const Simple& simple) {
  const auto& [type, schema] = simple;
  if (type == "any") return json_.value();
  if (type == "null") return builder_.literal("null", kReturn);
  if (type == "boolean") return builder_.either(builder_.literal("true", kReturn), builder_.literal("false", kReturn));
  if (type == "object") return object(schema);
  if (type == "array") return array(schema);
  if (type == "string") return builder_.literal("\"", characters(schema, true, builder_.literal("\"", kReturn)));
  const bool whole = type == "integer";
  if (!has_one(schema, kOfNumbers)) return whole ? json_.integer() : json_.number();
  return whole ? integers_in(range_of(schema), builder_) : numbers_in(range_of(schema), builder_);
}

// The inside of a string.
Label JsonSchema::characters(const JsonField& schema, bool quoted, Label next) {
  const JsonField expression = schema["pattern"], format = schema["format"];
  const auto [least, most] = counts(schema, "minLength", "maxLength");
  if (!expression.present() && !format.present()) return json_.characters(least, most, quoted, next);
  check(least == 0 && most == JsonGrammar::kNoEnd && !(expression.present() && format.present()),
        Code::kInvalidArgument, "{}: of pattern, format, and minLength with maxLength, only one is supported at a time",
        schema.place());
  if (expression.present()) return pattern(expression.string(), quoted, expression.place(), builder_, json_, next);
  const std::string known = format_pattern(format.string());
  if (known.empty()) format.refuse(kFormats);
  return pattern(known, quoted, format.place(), builder_, json_, next);
}

std::vector<JsonSchema::Property> JsonSchema::properties(const JsonField& schema) const {
  std::vector<Property> all;
  if (const JsonField properties = schema["properties"]; properties.present())
    for (const auto& [name, property] : properties.object().value().object())
      all.push_back({name, member(properties, name), false});
  const JsonField required = schema["required"];
  for (size_t i = 0; required.present() && i < required.size(); ++i) {
    const std::string& name = required[i].string();
    const auto found = std::ranges::find(all, name, &Property::name);
    if (found != all.end()) {
      found->required = true;
      continue;
    }
    static const Json kAny = true;
    const JsonField others = schema["additionalProperties"];
    all.push_back({name, others.present() ? others : JsonField(kAny, schema.place()), true});
  }
  for (const Property& property : all)
    check(property.name.size() <= kMostNameBytes, Code::kInvalidArgument, "{}: a name of more than {} bytes",
          schema.place(), kMostNameBytes);
  return all;
}

Label JsonSchema::object(const JsonField& schema) {
  std::vector<JsonGrammar::Member> members;
  for (const Property& property : properties(schema))
    members.push_back({property.name, value(property.schema), property.required});
  const JsonField others = schema["additionalProperties"];
  std::optional<Label> rest;
  if (others.present() && others.value() != false) {
    rest = value(others);
  } else if (!others.present() && members.empty()) {
    rest = json_.value();
  }
  return json_.object(members, rest);
}

Label JsonSchema::array(const JsonField& schema) {
  const auto [least, most] = counts(schema, "minItems", "maxItems");
  std::vector<Label> first;
  const JsonField prefix = schema["prefixItems"], items = schema["items"];
  for (size_t i = 0; prefix.present() && i < prefix.size(); ++i) first.push_back(value(prefix[i]));
  std::optional<Label> rest;
  if (!items.present()) {
    rest = json_.value();
  } else if (items.value() != false) {
    rest = value(items);
  }
  return json_.array(first, rest, least, most);
}

}  // namespace v4rt
