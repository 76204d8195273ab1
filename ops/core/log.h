#pragma once

#include <fmt/format.h>

#include <functional>
#include <string_view>
#include <utility>

// The library's messages. It never prints by itself: they go to a spdlog logger named "v4rt" (level warn by default),
// or to a function that the host program sets. Never called on the path of a token.
namespace v4rt::log {

enum class Level : int { kDebug, kInfo, kWarn, kError };

void write(Level level, std::string_view message);
bool enabled(Level level);
void set_level(Level level);
void set_sink(std::function<void(Level, std::string_view)> sink);  // empty: back to spdlog

template <class... Args>
void message(Level level, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  message(Level::kDebug, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  message(Level::kInfo, format, std::forward<Args>(args)...);
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  message(Level::kWarn, format, std::forward<Args>(args)...);
}

}  // namespace v4rt::log
