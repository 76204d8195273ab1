#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <string>
#include <type_traits>

namespace v4rt::cli {

// A decimal number from `low` to `high`, to be given to Option::transform. CLI11 reads "010" as eight, takes NaN for a
// number of any range, and what does not fit an integer for its largest value; here the text is read first, and handed
// on in a form that leaves no choice.
template <class T>
CLI::Validator between(T low, T high) {
  constexpr bool kWhole = std::is_integral_v<T>;
  return {[=](std::string& text) -> std::string {
            T value{};
            const char* const end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, value);
            if (error != std::errc() || stop != end || !(value >= low && value <= high))
              return fmt::format("'{}' is not a {}number from {} to {}", text, kWhole ? "whole " : "", low, high);
            text = fmt::format("{}", value);
            return {};
          },
          fmt::format("[{} - {}]", low, high)};
}

// A name, for instance of a file, that may not be empty.
inline CLI::Validator nonempty() {
  return {[](const std::string& text) { return std::string(text.empty() ? "the name is empty" : ""); }, ""};
}

}  // namespace v4rt::cli
