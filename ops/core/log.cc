#include "ops/core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace v4rt::log {
namespace {

struct State {
  std::mutex mutex;
  std::function<void(Level, std::string_view)> sink;
  std::atomic<Level> level{Level::kWarn};
};

State& state() {
  static State instance;
  return instance;
}

std::shared_ptr<spdlog::logger> logger() {
  if (auto existing = spdlog::get("v4rt")) return existing;
  auto made = spdlog::stderr_logger_mt("v4rt");
  made->set_pattern("v4rt: %l: %v");
  made->set_level(spdlog::level::trace);  // the level is ours: enabled()
  return made;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: break;
  }
  return spdlog::level::err;
}

}  // namespace

bool enabled(Level level) { return level >= state().level.load(std::memory_order_relaxed); }
void set_level(Level level) { state().level = level; }

void set_sink(std::function<void(Level, std::string_view)> sink) {
  const std::lock_guard lock(state().mutex);
  state().sink = std::move(sink);
}

void write(Level level, std::string_view message) {
  const std::lock_guard lock(state().mutex);
  if (state().sink) return state().sink(level, message);
  logger()->log(to_spdlog(level), "{}", message);
}

}  // namespace v4rt::log
