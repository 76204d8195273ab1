#include "loaders/files/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace v4rt {
namespace {

// nlohmann's form: the shortest digits that give the number back.
std::string usual_double(double value) { return nlohmann::json(value).dump(); }

// As Python's repr: with an exponent below 1e-4 and from 1e16 on.
std::string python_double(double value) {
  char text[32];
  const auto size = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific).ptr - text;
  const std::string_view digits(text, static_cast<size_t>(size));
  const size_t e = digits.find('e');
  const int exponent = std::stoi(std::string(digits.substr(e + 1)));
  if (exponent < -4 || exponent >= 16) return std::string(digits);
  char fixed[32];
  const auto end = std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed).ptr;
  std::string out(fixed, end);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

struct Form {
  std::string_view separator, colon;
  std::string (*number)(double);
  bool indented = false;
};

class Writer {
 public:
  explicit Writer(const Form& form) : form_(form) {}

  void write(const Json& value) {
    switch (value.type()) {
      case Json::Type::kNull: out_ += "null"; return;
      case Json::Type::kBoolean: out_ += value.boolean() ? "true" : "false"; return;
      case Json::Type::kInteger: out_ += std::to_string(value.number<int64_t>()); return;
      case Json::Type::kUnsigned: out_ += std::to_string(value.number<uint64_t>()); return;
      case Json::Type::kDouble: out_ += form_.number(value.number<double>()); return;
      case Json::Type::kDigits: out_ += value.digits(); return;
      case Json::Type::kString: out_ += json_string(value.string()); return;
      case Json::Type::kArray: return write_all('[', value.array(), ']', [&](const Json& item) { write(item); });
      case Json::Type::kObject:
        return write_all('{', value.object(), '}', [&](const Json::Member& member) {
          out_ += json_string(member.key);
          out_ += form_.colon;
          write(member.value);
        });
    }
  }

  std::string take() { return std::move(out_); }

 private:
  template <class T, class F>
  void write_all(char open, const std::vector<T>& all, char close, F&& one) {
    out_ += open;
    ++depth_;
    for (const T& each : all) {
      if (&each != &all.front()) out_ += form_.separator;
      begin_line();
      one(each);
    }
    --depth_;
    if (!all.empty()) begin_line();
    out_ += close;
  }
  void begin_line() {
    if (form_.indented) out_.append(1, '\n').append(2 * depth_, ' ');
  }

  const Form& form_;
  std::string out_;
  size_t depth_ = 0;
};

std::string written(const Json& value, const Form& form) {
  Writer writer(form);
  writer.write(value);
  return writer.take();
}

}  // namespace

const char* Json::type_name() const {
  constexpr const char* kNames[] = {"null",   "boolean", "number", "number", "number",
                                    "number", "string",  "array",  "object"};
  return kNames[value_.index()];
}

const Json* Json::find(std::string_view key) const {
  const auto* const members = std::get_if<Object>(&value_);
  if (members == nullptr) return nullptr;
  const auto found = std::ranges::find(*members, key, &Member::key);
  return found == members->end() ? nullptr : &found->value;
}

bool operator==(const Json& a, const Json& b) {
  if (a.type() == b.type()) return a.value_ == b.value_;
  if (a.is_unsigned() && b.is_integer()) return b == a;
  if (a.is_integer() && b.is_unsigned()) return std::cmp_equal(a.number<int64_t>(), b.number<uint64_t>());
  return a.is_number() && b.is_number() && a.number<double>() == b.number<double>();
}

std::string Json::dump() const { return written(*this, {",", ":", usual_double}); }
std::string Json::pretty() const { return written(*this, {",", ": ", usual_double, true}); }
std::string Json::python() const { return written(*this, {", ", ": ", python_double}); }

// nlohmann and Python escape the same bytes in the same way. What is not UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace v4rt
