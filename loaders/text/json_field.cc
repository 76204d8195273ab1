#include "loaders/text/json_field.h"

#include "loaders/files/json_file.h"

namespace v4rt {
JsonField JsonField::operator[](const char* key) const {
  object();
  return {value_->find(key), place_.empty() ? key : fmt::format("{}.{}", place_, key)};
}

size_t JsonField::size() const {
  if (!is_array()) refuse("a list");
  return value_->array().size();
}

const JsonField& JsonField::object() const {
  if (!is_object()) refuse("an object");
  return *this;
}

const std::string& JsonField::string() const {
  if (!is_string()) refuse("a string");
  return value_->string();
}

std::string JsonField::string(std::string_view otherwise) const {
  return present() ? string() : std::string(otherwise);
}

bool JsonField::flag(bool otherwise) const {
  if (!present()) return otherwise;
  if (!value_->is_boolean()) refuse("true or false");
  return value_->boolean();
}

int64_t JsonField::whole(int64_t low, int64_t high, int64_t otherwise) const {
  if (!present()) return otherwise;
  const bool fits = value_->is_integer() &&
                    (!value_->is_unsigned() || value_->number<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  const int64_t number = fits ? value_->number<int64_t>() : 0;
  if (!fits || number < low || number > high) refuse(fmt::format("a whole number from {} to {}", low, high));
  return number;
}

double JsonField::number(double low, double high, double otherwise) const {
  if (!present()) return otherwise;
  const double number = value_->is_number() ? value_->number<double>() : low - 1;
  if (!(number >= low && number <= high)) refuse(fmt::format("a number from {:g} to {:g}", low, high));
  return number;
}

std::string JsonField::shown() const {
  if (!present()) return "missing";
  if (value_->is_digits()) return "a larger number";
  if (value_->is_array() || value_->is_object()) return value_->type_name();
  return printable(value_->dump());
}

void JsonField::refuse(std::string_view expected) const {
  const std::string name = place_.empty() ? "the request" : place_;
  if (!present()) fail(Code::kInvalidArgument, "{} is missing: it has to be {}", name, expected);
  fail(Code::kInvalidArgument, "{} is {}, not {}", name, shown(), expected);
}

}  // namespace v4rt
