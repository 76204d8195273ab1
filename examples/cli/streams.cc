#include "examples/cli/streams.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace v4rt::cli {
namespace {

void wait_for(int file, short event) {
  pollfd request{file, event, 0};
  ::poll(&request, 1, -1);
}

}  // namespace

void occupy_standard_streams() {
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // A new descriptor takes the lowest free number. Reading or writing a descriptor opened with O_PATH fails with
    // EBADF.
    if (::fcntl(file, F_GETFD) < 0 && errno == EBADF) (void)::open("/", O_PATH | O_CLOEXEC);
  }
}

bool is_occupied(int file) { return (::fcntl(file, F_GETFL) & O_PATH) != 0; }

ssize_t read_some(int file, std::span<char> block) {
  while (true) {
    const ssize_t n = ::read(file, block.data(), block.size());
    if (n >= 0 || (errno != EAGAIN && errno != EINTR)) return n;
    if (errno == EAGAIN) wait_for(file, POLLIN);
  }
}

int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(file, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      wait_for(file, POLLOUT);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

std::string stream_error(std::string_view name, std::string_view what, int error) {
  if (error == EBADF) return fmt::format("{} is closed", name);
  return fmt::format("{} cannot be {}: {}", name, what, std::strerror(error));
}

}  // namespace v4rt::cli
