#pragma once

#include <nlohmann/json.hpp>

#include "loaders/files/json.h"

namespace v4rt {

using OrderedJson = nlohmann::ordered_json;

// For programs, which write JSON by nlohmann's documents: it finds this where a value of ours goes into one.
inline void to_json(OrderedJson& to, const Json& from) {
  switch (from.type()) {
    case Json::Type::kNull: to = nullptr; return;
    case Json::Type::kBoolean: to = from.boolean(); return;
    case Json::Type::kInteger: to = from.number<int64_t>(); return;
    case Json::Type::kUnsigned: to = from.number<uint64_t>(); return;
    case Json::Type::kDouble: to = from.number<double>(); return;
    case Json::Type::kDigits: to = std::stod(from.digits()); return;
    case Json::Type::kString: to = from.string(); return;
    case Json::Type::kArray:
      to = OrderedJson::array();
      for (const Json& item : from.array()) to.emplace_back(item);
      return;
    case Json::Type::kObject:
      to = OrderedJson::object();
      for (const auto& [key, value] : from.object()) to.emplace(key, value);
  }
}

}  // namespace v4rt
