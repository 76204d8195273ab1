#include "examples/cli/lost_pages.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstdint>
#include <string_view>

#include "loaders/text/utf8.h"

namespace v4rt::cli {
namespace {

// The handler neither allocates nor uses streams: the signal may come at any point of any thread.

// The lines of a file in /proc; lines that are too long are cut.
class Lines {
 public:
  explicit Lines(const char* path) : file_(::open(path, O_RDONLY | O_CLOEXEC)) {}

  bool next(std::string_view& line) {
    size_t n = 0;
    for (char c = 0; byte(c);) {
      if (c == '\n') {
        line = {line_.data(), n};
        return true;
      }
      if (n < line_.size()) line_[n++] = c;
    }
    return false;
  }

 private:
  bool byte(char& c) {
    if (at_ == filled_) {
      const ssize_t n = ::read(file_, buffer_.data(), buffer_.size());
      if (n <= 0) return false;
      at_ = 0;
      filled_ = static_cast<size_t>(n);
    }
    c = buffer_[at_++];
    return true;
  }

  const int file_;
  std::array<char, 4096> buffer_{};
  std::array<char, PATH_MAX + 128> line_{};
  size_t at_ = 0, filled_ = 0;
};

uintptr_t hexadecimal(std::string_view& text) {
  uintptr_t number = 0;
  for (; !text.empty(); text.remove_prefix(1)) {
    const char c = text.front();
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) break;
    number = number * 16 + static_cast<uintptr_t>(digit);
  }
  return number;
}

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

// A line is "begin-end rights offset device inode   path".
void on_bus_error(int, siginfo_t* info, void*) {
  static std::atomic_flag telling = ATOMIC_FLAG_INIT;
  while (telling.test_and_set()) ::pause();  // another thread is already ending the program
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  Lines maps("/proc/self/maps");
  for (std::string_view line; maps.next(line);) {
    std::string_view rest = line;
    const uintptr_t begin = hexadecimal(rest);
    if (!rest.empty()) rest.remove_prefix(1);
    const uintptr_t end = hexadecimal(rest);
    const size_t path = line.find('/');
    if (address < begin || address >= end || path == std::string_view::npos) continue;
    put("v4rt: ");
    put_escaped(line.substr(path), put);
    put(": was cut short while it was in use, or its disk fails; restore the file and start again, or use --no-mmap\n");
    ::_exit(1);
  }
  telling.clear();
  std::signal(SIGBUS, SIG_DFL);  // not in a file: the access is repeated, and now ends the program
}

}  // namespace

void report_lost_pages() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace v4rt::cli
