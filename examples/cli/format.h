#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace v4rt::cli {

// Indented, with a line end; bytes that are not UTF-8, as in names of files, become U+FFFD.
std::string json_text(const nlohmann::ordered_json& json);

// Columns as wide as their widest cell, two spaces apart; those marked '>' in `alignment` are right-aligned.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::string& alignment);

}  // namespace v4rt::cli
