#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "loaders/files/json.h"
#include "ops/core/error.h"

namespace v4rt {

// A value in a JSON document together with its path, "tokenizer.json: model.vocab", for messages. Asking for a type
// that the value does not have throws Error.
class JsonNode {
 public:
  static constexpr int64_t kMaxIds = 1 << 22;  // larger than any vocabulary; a wrong id must not ask for gigabytes

  JsonNode(const Json* value, std::string place) : value_(value), place_(std::move(place)) {}

  const std::string& place() const { return place_; }
  const Json& value() const { return *value_; }  // present() only
  bool present() const { return value_ != nullptr && !value_->is_null(); }
  JsonNode member(const char* key) const;  // maybe not present
  JsonNode element(size_t i) const { return {&array()[i], fmt::format("{}[{}]", place_, i)}; }

  const Json::Object& object() const { return of_type(Json::Type::kObject, "an object").object(); }
  const Json::Array& array() const { return of_type(Json::Type::kArray, "an array").array(); }
  const std::string& string() const { return of_type(Json::Type::kString, "a string").string(); }
  bool flag(bool otherwise) const;  // `otherwise` where not present
  int32_t id() const;

  static std::optional<int32_t> as_id(const Json& value);  // nothing where it cannot be one
  static std::string quoted(std::string_view text);        // for messages: escaped, not too long
  std::string shown() const;                               // for messages: "an object", "3.5", "missing"

 private:
  const Json& of_type(Json::Type type, const char* expected) const;

  const Json* value_;  // nullptr: missing
  std::string place_;
};

}  // namespace v4rt
