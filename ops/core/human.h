#pragma once

#include <concepts>
#include <string>

namespace v4rt {

// Amounts as people read them.
std::string human_bytes(double bytes);   // "4.71 MiB", "31.4 GiB": powers of 1024
std::string human_count(double number);  // "13.3 G": powers of ten

template <std::integral T>
std::string human_bytes(T bytes) {
  return human_bytes(static_cast<double>(bytes));
}

}  // namespace v4rt
