#pragma once

#include <string>

namespace v4rt {

// Amounts as people read them.
std::string human_bytes(double bytes);   // "4.71 MiB", "31.4 GiB": powers of 1024
std::string human_count(double number);  // "13.3 G": powers of ten

}  // namespace v4rt
