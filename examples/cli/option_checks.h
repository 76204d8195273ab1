#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace v4rt::cli {

// A decimal number from `low` to `high`, to be given to Option::transform. CLI11 would read "010" as eight, accept NaN
// in any range, and turn numbers that do not fit an integer into its largest value. So the text is parsed here, and
// passed on in a form that CLI11 cannot misread.
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

// An amount of bytes from `low` to `high`: a whole number, and a unit unless it is bytes, as in 512M, 8GB or 8 GiB. All
// units are powers of 1024. Passed on as the number of bytes.
inline CLI::Validator bytes_between(uint64_t low, uint64_t high) {
  return {[=](std::string& text) -> std::string {
            uint64_t number = 0;
            const char* const end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, number);
            const std::string unit = CLI::detail::to_lower(CLI::detail::trim_copy(std::string(stop, end)));
            const std::string_view letters = "bkmgtpe";
            const size_t power = unit.empty() ? 0 : letters.find(unit.front());
            const std::string_view after = unit.empty() ? "" : std::string_view(unit).substr(1);
            const bool known =
                power == 0 ? after.empty() : after.empty() || after == "b" || after == "i" || after == "ib";
            if (error != std::errc() || power >= letters.size() || !known || number > (high >> (10 * power)) ||
                number << (10 * power) < low)
              return fmt::format("'{}' is not a size from {} to {} bytes, such as 512MiB or 8GiB", text, low, high);
            text = fmt::format("{}", number << (10 * power));
            return {};
          },
          fmt::format("[{} - {}]", low, high)};
}

// NAME=VALUE, or a value alone: what is said about values.
inline CLI::Validator after_equals(CLI::Validator of_value) {
  const std::string description = of_value.get_description();
  return {[of_value = std::move(of_value)](std::string& text) -> std::string {
            const size_t equals = text.rfind('=');
            if (equals == 0) return fmt::format("'{}' names nothing before '='", text);
            const std::string name = equals == std::string::npos ? "" : text.substr(0, equals + 1);
            std::string value = text.substr(name.size());
            std::string problem = of_value(value);
            text = name + value;
            return problem;
          },
          description};
}

// A name, for instance of a file, or something else that may not be empty.
inline CLI::Validator nonempty(std::string what = "name") {
  return {[=](const std::string& text) { return text.empty() ? fmt::format("the {} is empty", what) : ""; }, ""};
}

}  // namespace v4rt::cli
