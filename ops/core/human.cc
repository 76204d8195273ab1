#include "ops/core/human.h"

#include <fmt/format.h>

#include <cmath>
#include <initializer_list>
#include <string_view>

namespace v4rt {
namespace {

std::string scaled(double value, double step, std::initializer_list<std::string_view> units) {
  auto unit = units.begin();
  while (std::abs(value) >= step && unit + 1 != units.end()) value /= step, ++unit;
  return fmt::format("{:.{}f} {}", value, unit == units.begin() ? 0 : value < 10 ? 2 : 1, *unit);
}

}  // namespace

std::string human_bytes(double bytes) { return scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}); }

std::string human_count(double number) {
  std::string text = scaled(number, 1000, {"", "k", "M", "G", "T", "P"});
  if (text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace v4rt
