#include "examples/cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "examples/cli/streams.h"
#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kOutput = "standard output";
const std::chrono::steady_clock::time_point kStart = std::chrono::steady_clock::now();

}  // namespace

void print(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text);
  if (error == EPIPE) throw ClosedPipe();
  if (error != 0) fail(Code::kInvalidArgument, "{}", stream_error(kOutput, "written", error));
}

void check_output() {
  check(!is_occupied(STDOUT_FILENO), Code::kInvalidArgument, "{}", stream_error(kOutput, "written", EBADF));
}

void say(std::string_view text) noexcept { write_all(STDERR_FILENO, text); }

bool input_is_terminal() { return isatty(STDIN_FILENO) != 0; }
bool messages_are_terminal() { return isatty(STDERR_FILENO) != 0; }

double seconds_since_start() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - kStart).count();
}

void Progress::update(std::string_view what, double done, std::string_view detail) {
  const Clock::time_point now = Clock::now();
  const bool bar = messages_are_terminal();
  if (now - begin_ < 500ms || now - last_ < (bar ? 100ms : 10s)) return;
  last_ = now;
  const int percent = static_cast<int>(100 * std::min(1.0, std::max(0.0, done)));
  if (!bar) {
    say(fmt::format("{}: {} %{}{}\n", what, percent, detail.empty() ? "" : ", ", detail));
    return;
  }
  constexpr int kWidth = 30;
  const std::string filled(static_cast<size_t>(percent * kWidth / 100), '#');
  say(fmt::format("\r\033[K{} [{:<{}}] {:3} % {}", what, filled, kWidth, percent, detail));
  drawn_ = true;
}

void Progress::update(int64_t done, int64_t total) {
  update(static_cast<double>(done) / static_cast<double>(std::max<int64_t>(total, 1)),
         fmt::format("{} of {} tokens", done, total));
}

void Progress::clear() {
  if (drawn_) say("\r\033[K");
  drawn_ = false;
}

}  // namespace v4rt::cli
