#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace v4rt {

template <class Value>
struct JsonMember {
  std::string key;
  Value value;
  friend bool operator==(const JsonMember& a, const JsonMember& b) = default;
};

// A JSON value, whose objects keep their members in order. Moving and destroying it take no memory, so that running out
// of it ends in an exception; those of nlohmann's documents, whose parser we use, would end the process.
class Json {
 public:
  using Member = JsonMember<Json>;
  struct Digits : std::string {};  // of an integer that 64 bits do not hold
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;
  enum class Type { kNull, kBoolean, kInteger, kUnsigned, kDouble, kDigits, kString, kArray, kObject };  // as of Value

  Json() = default;
  Json(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): as all that follow, for documents to be written
  template <class T>
  requires std::is_arithmetic_v<T> Json(T value) : value_(stored(value)) {}  // NOLINT(google-explicit-constructor)
  Json(Digits digits) : value_(std::move(digits)) {}                         // NOLINT(google-explicit-constructor)
  Json(std::string text) : value_(std::move(text)) {}                        // NOLINT(google-explicit-constructor)
  Json(std::string_view text) : value_(std::string(text)) {}                 // NOLINT(google-explicit-constructor)
  Json(const char* text) : value_(std::string(text)) {}                      // NOLINT(google-explicit-constructor)
  Json(Array items) : value_(std::move(items)) {}                            // NOLINT(google-explicit-constructor)
  Json(Object members) : value_(std::move(members)) {}                       // NOLINT(google-explicit-constructor)
  explicit Json(std::span<const std::string> texts) : value_(Array(texts.begin(), texts.end())) {}

  Type type() const { return static_cast<Type>(value_.index()); }
  bool is_null() const { return type() == Type::kNull; }
  bool is_boolean() const { return type() == Type::kBoolean; }
  bool is_unsigned() const { return type() == Type::kUnsigned; }  // no negative integer
  bool is_integer() const { return type() == Type::kInteger || is_unsigned(); }
  bool is_digits() const { return type() == Type::kDigits; }
  bool is_number() const { return is_integer() || type() == Type::kDouble; }
  bool is_string() const { return type() == Type::kString; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_object() const { return type() == Type::kObject; }
  const char* type_name() const;  // "object"

  // Of that type only.
  const std::string& string() const { return std::get<std::string>(value_); }
  const Array& array() const { return std::get<Array>(value_); }
  const Object& object() const { return std::get<Object>(value_); }
  bool boolean() const { return std::get<bool>(value_); }
  const Digits& digits() const { return std::get<Digits>(value_); }
  template <class T>
  T number() const {
    if (const auto* const whole = std::get_if<int64_t>(&value_)) return static_cast<T>(*whole);
    if (const auto* const whole = std::get_if<uint64_t>(&value_)) return static_cast<T>(*whole);
    return static_cast<T>(std::get<double>(value_));
  }

  const Json* find(std::string_view key) const;  // nullptr: no such member, or no object
  bool contains(std::string_view key) const { return find(key) != nullptr; }

  // An integer equals the same number as a double.
  friend bool operator==(const Json& a, const Json& b);

  std::string dump() const;    // on one line; what is not UTF-8 becomes U+FFFD
  std::string pretty() const;  // a line for each member, indented by two
  // As Python's json.dumps(value, ensure_ascii=False) writes it: the form that models saw in training.
  std::string python() const;

 private:
  template <class T>
  static auto stored(T value) {
    if constexpr (std::is_same_v<T, bool> || std::is_floating_point_v<T>)
      return std::conditional_t<std::is_same_v<T, bool>, bool, double>(value);
    else
      return std::conditional_t<std::is_unsigned_v<T>, uint64_t, int64_t>(value);
  }

  std::variant<std::monostate, bool, int64_t, uint64_t, double, Digits, std::string, Array, Object> value_;
};

std::string json_string(std::string_view text);  // quoted and escaped

}  // namespace v4rt
