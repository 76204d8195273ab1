#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace v4rt::cli {

// Columns as wide as their widest cell, two spaces apart; those marked '>' in `alignment` stand right.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::string& alignment);

}  // namespace v4rt::cli
