#pragma once

#include <chrono>
#include <exception>
#include <string>
#include <string_view>

namespace v4rt::cli {

// Nobody reads standard output any more: there is nothing left to do.
struct ClosedPipe : std::exception {};

// To standard output, at once; throws ClosedPipe, or Error when it cannot be written.
void print(std::string_view text);
void check_output();  // throws Error if standard output is closed: for commands whose results come late
// To standard error; ignores errors. Text from outside must pass through escaped() (loaders/text/utf8.h).
void say(std::string_view text) noexcept;

bool input_is_terminal();
bool messages_are_terminal();  // standard error

double seconds_since_start();  // of the program

// Progress of long work: a bar on a terminal, after half a second; elsewhere a line every ten seconds. The bar
// disappears at the end.
class Progress {
 public:
  explicit Progress(std::string what) : what_(std::move(what)) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::string_view what, double done, std::string_view detail = {});
  void update(double done, std::string_view detail = {}) { update(what_, done, detail); }
  void update(int64_t done, int64_t total);  // of tokens
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  Clock::time_point begin_ = Clock::now(), last_ = begin_;
  bool drawn_ = false;
};

}  // namespace v4rt::cli
