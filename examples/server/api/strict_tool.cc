#include "examples/server/api/strict_tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "loaders/files/json_file.h"

namespace v4rt::server {
namespace {

bool is_of_objects(const JsonField& schema) {
  const JsonField type = schema["type"];
  if (type.is_array()) return std::ranges::find(type.value().array(), Json("object")) != type.value().array().end();
  return schema["properties"].present() || (type.present() && type.value() == "object");
}

void check_object(const JsonField& schema, const std::string& tool) {
  constexpr std::string_view kWayOut = "mend that, or leave out \"strict\"";
  std::set<std::string_view> required;
  const JsonField names = schema["required"], properties = schema["properties"],
                  others = schema["additionalProperties"];
  for (size_t i = 0; names.present() && i < names.size(); ++i) required.insert(names[i].string());
  if (properties.present()) {
    for (const auto& [name, property] : properties.object().value().object())
      check(required.contains(name), Code::kInvalidArgument,
            "the tool {} is strict, and {} does not list the property {} in \"required\": {}", tool, schema.place(),
            printable(name), kWayOut);
  }
  check(others.present() && others.value() == false, Code::kInvalidArgument,
        "the tool {} is strict, and {} lacks \"additionalProperties\": false: {}", tool, schema.place(), kWayOut);
}

void check_objects(const JsonField& schema, bool is_object, const std::string& tool) {
  if (is_object) check_object(schema, tool);
  const auto check_one = [&](const JsonField& one) {
    if (one.is_object()) check_objects(one, is_of_objects(one), tool);
  };
  for (const char* const key : {"properties", "$defs", "definitions"}) {
    const JsonField named = schema[key];
    if (!named.is_object()) continue;
    for (const auto& [name, one] : named.value().object())
      check_one({one, fmt::format("{}.{}", named.place(), printable(name))});
  }
  for (const char* const key : {"items", "prefixItems", "anyOf", "oneOf", "allOf"}) {
    const JsonField some = schema[key];
    check_one(some);
    for (size_t i = 0; some.is_array() && i < some.size(); ++i) check_one(some[i]);
  }
}

}  // namespace

void check_strict(const ReplyRules::Tool& tool) {
  if (tool.strict && tool.parameters.present()) check_objects(tool.parameters.object(), true, tool.name);
}

}  // namespace v4rt::server
