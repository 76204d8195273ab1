#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "loaders/files/json.h"
#include "ops/core/error.h"

namespace v4rt {

// A value of a request together with its path, "messages[2].content", for messages. Asking for a type that it does not
// have throws Error(kInvalidArgument).
class JsonField {
 public:
  JsonField(const Json& value, std::string place) : JsonField(&value, std::move(place)) {}

  const std::string& place() const { return place_; }
  const Json& value() const { return *value_; }  // present() only
  bool present() const { return value_ != nullptr && !value_->is_null(); }
  bool is_string() const { return present() && value_->is_string(); }
  bool is_array() const { return present() && value_->is_array(); }
  bool is_object() const { return present() && value_->is_object(); }

  JsonField operator[](const char* key) const;  // of an object; maybe not present
  JsonField operator[](size_t i) const { return {&value_->array()[i], fmt::format("{}[{}]", place_, i)}; }
  size_t size() const;  // of an array
  const JsonField& object() const;
  const std::string& string() const;
  std::string string(std::string_view otherwise) const;  // where it is not present
  bool flag(bool otherwise) const;
  int64_t whole(int64_t low, int64_t high, int64_t otherwise) const;
  double number(double low, double high, double otherwise) const;

  std::string shown() const;  // for messages: a short value, without control characters, or the name of its type
  [[noreturn]] void refuse(std::string_view expected) const;  // "messages[2].role is 3, not a string"

 private:
  JsonField(const Json* value, std::string place) : value_(value), place_(std::move(place)) {}

  const Json* value_;  // nullptr: missing
  std::string place_;
};

}  // namespace v4rt
