#include "examples/server/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace v4rt::server {
namespace {

double seconds_until(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(then - std::chrono::steady_clock::now()).count();
}

}  // namespace

// A close with unread input would make the system throw away what the client has not read yet: so the input is read, as
// far as it comes soon.
Connection::~Connection() {
  if (!at_once_) ::shutdown(socket_, SHUT_WR);
  const auto late = Clock::now() + std::chrono::seconds(1);
  while (!at_once_ && ready(POLLIN, seconds_until(late)) &&
         ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT) > 0)
    continue;
  ::close(socket_);
}

bool Connection::ready(short events, double seconds) const {
  pollfd file{socket_, events, 0};
  while (true) {
    const int n = ::poll(&file, 1, static_cast<int>(std::max(seconds, 0.0) * 1000));
    if (n >= 0 || errno != EINTR) return n > 0;
  }
}

bool Connection::gone() const {
  pollfd file{socket_, POLLRDHUP, 0};
  return ::poll(&file, 1, 0) > 0 && (file.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void Connection::begin_request() {
  begin_time_ = Clock::now();
  head_left_ = limits_.head;
}

bool Connection::in_time() const {
  const double seconds = -seconds_until(begin_time_);
  return seconds < limits_.request_seconds && (seconds < limits_.hurried_seconds || waiting_ == 0);
}

bool Connection::fill() {
  constexpr double kGlance = 0.1;  // seconds, at who waits
  while (!ready(POLLIN, kGlance))
    if (!in_time()) return false;
  const ssize_t n = ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR) && fill();
  begin_ = 0;
  end_ = static_cast<size_t>(n);
  return true;
}

ssize_t Connection::read(char* to, size_t size) {
  if (head_left_ == 0 || !in_time()) return -1;
  if (begin_ == end_ && !fill()) return -1;
  const size_t n = std::min({size, end_ - begin_, head_left_});
  std::copy_n(buffer_.data() + begin_, n, to);
  begin_ += n;
  if (head_left_ != SIZE_MAX) head_left_ -= n;
  return static_cast<ssize_t>(n);
}

ssize_t Connection::write(const char* from, size_t size) {
  const ssize_t n = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0 || (errno != EAGAIN && errno != EINTR)) return n;
  return ready(POLLOUT, limits_.write_seconds) ? 0 : -1;
}

}  // namespace v4rt::server
