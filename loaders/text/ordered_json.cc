#include "loaders/text/ordered_json.h"

#include <charconv>
#include <vector>

#include "loaders/files/json_file.h"

namespace v4rt {
namespace {

constexpr size_t kMaxDepth = 64;

// What nlohmann's parser calls. Its own document would turn integers of more than 64 bits into doubles.
class Builder {
 public:
  using Json = OrderedJson;

  explicit Builder(std::string_view source) : source_(source) {}
  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(Json::number_integer_t value) { return put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return put(value); }
  bool number_float(Json::number_float_t value, const std::string& digits) {
    if (digits.find_first_of(".eE") != std::string::npos) return put(value);
    return put(Json::binary({digits.begin(), digits.end()}));
  }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // there is none in a text
  bool start_object(size_t) { return open(Json::object()); }
  bool key(std::string& value) {
    key_ = std::move(value);
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_array() { return close(); }
  bool parse_error(size_t byte, const std::string&, const nlohmann::json::exception&) {
    fail(Code::kInvalidArgument, "{}: not valid JSON at byte {}", source_, byte);
  }

 private:
  bool put(Json value) { return add(std::move(value)) != nullptr; }
  // A repeated key keeps its first place and gets the last value.
  Json* add(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool open(Json value) {
    check(open_.size() < kMaxDepth, Code::kInvalidArgument, "{}: JSON nested deeper than {} levels", source_,
          kMaxDepth);
    open_.push_back(add(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string_view source_;
  Json root_;
  std::string key_;
  std::vector<Json*> open_;
};

// As Python's repr: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
void write_double(double value, std::string& out) {
  char text[32];
  const auto size = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific).ptr - text;
  std::string_view digits(text, static_cast<size_t>(size));
  const size_t e = digits.find('e');
  const int exponent = std::stoi(std::string(digits.substr(e + 1)));
  if (exponent < -4 || exponent >= 16) {
    out += digits;
    return;
  }
  char fixed[32];
  const auto end = std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed).ptr;
  out.append(fixed, end);
  if (std::string_view(fixed, static_cast<size_t>(end - fixed)).find('.') == std::string_view::npos) out += ".0";
}

void write(const OrderedJson& value, std::string& out) {
  switch (value.type()) {
    case OrderedJson::value_t::string: out += python_string(value.get_ref<const std::string&>()); return;
    case OrderedJson::value_t::number_float: write_double(value.get<double>(), out); return;
    case OrderedJson::value_t::binary: out.append(value.get_binary().begin(), value.get_binary().end()); return;
    case OrderedJson::value_t::array: {
      out += '[';
      for (size_t i = 0; i < value.size(); ++i) {
        if (i > 0) out += ", ";
        write(value[i], out);
      }
      out += ']';
      return;
    }
    case OrderedJson::value_t::object: {
      out += '{';
      std::string_view separator;
      for (const auto& [key, member] : value.items()) {
        out += separator;
        out += python_string(key);
        out += ": ";
        write(member, out);
        separator = ", ";
      }
      out += '}';
      return;
    }
    default: out += value.dump();
  }
}

}  // namespace

OrderedJson parse_ordered_json(std::string_view text, std::string_view source) {
  Builder builder(source);
  OrderedJson::sax_parse(text, &builder);
  return builder.take();
}

std::string python_json(const OrderedJson& value) {
  std::string out;
  write(value, out);
  return out;
}

// nlohmann escapes the same bytes in the same way. What is not UTF-8 becomes U+FFFD.
std::string python_string(std::string_view text) {
  return OrderedJson(text).dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

JsonField JsonField::operator[](const char* key) const {
  object();
  const auto found = value_->find(key);
  return {found == value_->end() ? nullptr : &*found, place_.empty() ? key : fmt::format("{}.{}", place_, key)};
}

size_t JsonField::size() const {
  if (!is_array()) refuse("a list");
  return value_->size();
}

const JsonField& JsonField::object() const {
  if (!is_object()) refuse("an object");
  return *this;
}

const std::string& JsonField::string() const {
  if (!is_string()) refuse("a string");
  return value_->get_ref<const std::string&>();
}

std::string JsonField::string(std::string_view otherwise) const {
  return present() ? string() : std::string(otherwise);
}

bool JsonField::flag(bool otherwise) const {
  if (!present()) return otherwise;
  if (!value_->is_boolean()) refuse("true or false");
  return value_->get<bool>();
}

int64_t JsonField::whole(int64_t low, int64_t high, int64_t otherwise) const {
  if (!present()) return otherwise;
  const bool fits = value_->is_number_integer() &&
                    (!value_->is_number_unsigned() || value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  const int64_t number = fits ? value_->get<int64_t>() : 0;
  if (!fits || number < low || number > high) refuse(fmt::format("a whole number from {} to {}", low, high));
  return number;
}

double JsonField::number(double low, double high, double otherwise) const {
  if (!present()) return otherwise;
  const double number = value_->is_number() ? value_->get<double>() : low - 1;
  if (!(number >= low && number <= high)) refuse(fmt::format("a number from {:g} to {:g}", low, high));
  return number;
}

std::string JsonField::shown() const {
  if (!present()) return "missing";
  if (value_->is_binary()) return "a larger number";
  if (value_->is_structured()) return value_->type_name();
  return printable(value_->dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
}

void JsonField::refuse(std::string_view expected) const {
  const std::string name = place_.empty() ? "the request" : place_;
  if (!present()) fail(Code::kInvalidArgument, "{} is missing: it has to be {}", name, expected);
  fail(Code::kInvalidArgument, "{} is {}, not {}", name, shown(), expected);
}

}  // namespace v4rt
