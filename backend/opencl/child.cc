#include "backend/opencl/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>

namespace v4rt {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 30;  // of one text

bool send_bytes(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool receive_bytes(int socket, std::span<char> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return true;
}

}  // namespace

bool send_text(int socket, std::string_view text) {
  const uint64_t size = text.size();
  return send_bytes(socket, {reinterpret_cast<const char*>(&size), sizeof(size)}) && send_bytes(socket, text);
}

std::optional<std::string> receive_text(int socket) {
  uint64_t size = 0;
  if (!receive_bytes(socket, {reinterpret_cast<char*>(&size), sizeof(size)}) || size > kMostBytes) return {};
  std::string text(size, '\0');
  if (!receive_bytes(socket, text)) return {};
  return text;
}

Child::Child(const std::vector<std::string>& command) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  socket_ = ends[0];
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&files, ends[1], STDIN_FILENO);
  for (const int printed : {STDOUT_FILENO, STDERR_FILENO})
    ::posix_spawn_file_actions_addopen(&files, printed, "/dev/null", O_WRONLY, 0);
  // In a group of its own: Ctrl-C is for us, and we end it.
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  if (::posix_spawn(&process_, command[0].c_str(), &files, &attributes, arguments.data(), environ) != 0) process_ = 0;
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  ::close(ends[1]);
}

Child::~Child() {
  if (process_ > 0) ::kill(process_, SIGKILL);
  wait();
  if (socket_ >= 0) ::close(socket_);
}

bool Child::greets() { return process_ > 0 && hear() == kGreeting; }

bool Child::say(std::initializer_list<std::string_view> texts) {
  return std::ranges::all_of(texts, [this](std::string_view text) { return send_text(socket_, text); });
}

std::optional<std::string> Child::hear() { return receive_text(socket_); }

bool Child::speaks_within(std::chrono::milliseconds time) const {
  pollfd one{socket_, POLLIN, 0};
  int ready = 0;
  do ready = ::poll(&one, 1, static_cast<int>(time.count()));
  while (ready < 0 && errno == EINTR);
  return ready != 0;
}

void Child::hang_up() { ::shutdown(socket_, SHUT_RDWR); }

int Child::wait() {
  int status = 0;
  while (process_ > 0 && ::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = 0;
  return status;
}

std::string Child::end() {
  const int status = wait();
  return WIFSIGNALED(status) ? fmt::format("signal {}, {}", WTERMSIG(status), strsignal(WTERMSIG(status)))
                             : fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace v4rt
