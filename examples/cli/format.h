#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace v4rt::cli {

std::string bytes_text(double bytes);   // "4.7 MiB"
std::string count_text(double number);  // "13.3 G": powers of ten

// Columns as wide as their widest cell, two spaces apart; those marked '>' in `alignment` stand right.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::string& alignment);

}  // namespace v4rt::cli
