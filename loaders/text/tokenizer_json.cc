#include "loaders/text/tokenizer_json.h"

#include "loaders/files/json_file.h"

namespace v4rt {

JsonNode JsonNode::member(const char* key) const {
  object();
  const char* separator = place_.ends_with(": ") ? "" : ".";
  return {value_->find(key), fmt::format("{}{}{}", place_, separator, key)};
}

const Json& JsonNode::of_type(Json::Type type, const char* expected) const {
  check(value_ != nullptr && value_->type() == type, Code::kCorrupt, "{} is {}, expected {}", place_, shown(),
        expected);
  return *value_;
}

bool JsonNode::flag(bool otherwise) const {
  return present() ? of_type(Json::Type::kBoolean, "true or false").boolean() : otherwise;
}

int32_t JsonNode::id() const {
  const auto id = value_ == nullptr ? std::nullopt : as_id(*value_);
  check(id.has_value(), Code::kCorrupt, "{} is {}, expected an integer from 0 to {}", place_, shown(), kMaxIds - 1);
  return *id;
}

std::optional<int32_t> JsonNode::as_id(const Json& value) {
  if (!value.is_integer()) return std::nullopt;
  const auto id = value.number<int64_t>();  // numbers beyond int64_t become negative
  if (id < 0 || id >= kMaxIds) return std::nullopt;
  return static_cast<int32_t>(id);
}

std::string JsonNode::quoted(std::string_view text) {
  constexpr size_t kLongest = 60;
  return printable(json_string(text.substr(0, kLongest))) + (text.size() > kLongest ? "..." : "");
}

std::string JsonNode::shown() const {
  if (value_ == nullptr) return "missing";
  if (value_->is_string()) return quoted(value_->string());
  if (value_->is_object() || value_->is_array()) return fmt::format("an {}", value_->type_name());
  return value_->dump();
}

}  // namespace v4rt
