#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {

// A value from a file, made safe to show in a message.
inline std::string shown(const Json& value) { return printable(value.dump()); }

// The keys of one JSON object. A null counts as absent, as in the libraries that write these files. Every key that is
// asked for becomes known; the others can be refused.
class Fields {
 public:
  Fields(const Json& object, std::string source) : object_(object), source_(std::move(source)) {
    check(object.is_object(), Code::kCorrupt, "{}: is not a JSON object", source_);
  }

  const std::string& source() const { return source_; }
  const Json* find(std::string_view key) const {
    known_.emplace(key);
    const Json* const found = object_.find(key);
    return found == nullptr || found->is_null() ? nullptr : found;
  }
  const Json& require(std::string_view key) const {
    const Json* value = find(key);
    check(value != nullptr, Code::kCorrupt, "{}: '{}' is missing; restore the file", source_, key);
    return *value;
  }
  Fields child(std::string_view key) const { return {require(key), fmt::format("{}: '{}'", source_, key)}; }

  int64_t integer(std::string_view key, int64_t min, int64_t max) const {
    return in_range(key, require(key), min, max);
  }
  int64_t integer(std::string_view key, int64_t min, int64_t max, int64_t absent) const {
    const Json* value = find(key);
    return value == nullptr ? absent : in_range(key, *value, min, max);
  }
  const std::string& text(std::string_view key) const {
    const Json& value = require(key);
    check(value.is_string(), Code::kCorrupt, "{}: '{}' is {}; expected a text", source_, key, shown(value));
    return value.string();
  }
  int size(std::string_view key, int max) const { return static_cast<int>(integer(key, 1, max)); }

  double number(std::string_view key, double min, double max) const { return in_range(key, require(key), min, max); }
  double number(std::string_view key, double min, double max, double absent) const {
    const Json* value = find(key);
    return value == nullptr ? absent : in_range(key, *value, min, max);
  }

  // One token id or a list of them, below `vocab_size`, without repetitions; empty if the key is absent.
  std::vector<int32_t> token_ids(std::string_view key, int64_t vocab_size) const {
    std::vector<int32_t> ids;
    const Json* value = find(key);
    if (value == nullptr) return ids;
    const auto add = [&](const Json& id) {
      const bool ok = id.is_unsigned() && id.number<uint64_t>() < static_cast<uint64_t>(vocab_size);
      check(ok, Code::kCorrupt, "{}: '{}' is {}; expected token ids below vocab_size = {}", source_, key, shown(*value),
            vocab_size);
      const auto number = id.number<int32_t>();
      if (std::find(ids.begin(), ids.end(), number) == ids.end()) ids.push_back(number);
    };
    if (value->is_array() && !value->array().empty())
      for (const Json& id : value->array()) add(id);
    else
      add(*value);
    return ids;
  }

  // A key that may be absent, but must not have another value: the model would then need something that this runtime
  // does not compute.
  void expect(std::string_view key, const Json& wanted) const {
    const Json* value = find(key);
    check(value == nullptr || *value == wanted, Code::kUnsupported,
          "{}: '{}' is {}; DeepSeek-V4 has {}, and nothing else is supported", source_, key,
          value == nullptr ? std::string() : shown(*value), shown(wanted));
  }

  // Keys that change no result.
  void ignore(std::initializer_list<std::string_view> keys) const { known_.insert(keys.begin(), keys.end()); }

  // Refuses all other keys: they may ask for something that is not computed here. Names that begin with '_' are notes
  // of the program that wrote the file.
  void check_all_known() const {
    for (const auto& [key, value] : object_.object()) {
      check(value.is_null() || key.starts_with('_') || known_.count(key) != 0, Code::kUnsupported,
            "{}: '{}' is {}: v4rt knows no such key here, and it may change what the model computes; if it does not, "
            "remove it",
            source_, printable(key), shown(value));
    }
  }

 private:
  template <class T>
  T in_range(std::string_view key, const Json& value, T min, T max) const {
    const bool right_kind = std::is_integral_v<T> ? value.is_integer() : value.is_number();
    // Unsigned JSON numbers above 2^63 would wrap: they are beyond every bound anyway.
    const bool fits =
        right_kind &&
        !(value.is_unsigned() && value.number<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    check(fits && value.number<T>() >= min && value.number<T>() <= max, Code::kCorrupt,
          "{}: '{}' is {}; expected {} from {} to {}", source_, key, shown(value),
          std::is_integral_v<T> ? "an integer" : "a number", min, max);
    return value.number<T>();
  }

  const Json& object_;
  std::string source_;
  mutable std::set<std::string, std::less<>> known_;
};

}  // namespace v4rt
