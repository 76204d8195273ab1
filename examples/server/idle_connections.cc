#include "examples/server/idle_connections.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "ops/core/error.h"

namespace v4rt::server {
namespace {

// Half of the descriptors that the process may have: files and those that are served need some too.
size_t most_connections(size_t wanted) {
  rlimit files{};
  const bool known = ::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY;
  return known ? std::min<size_t>(wanted, files.rlim_cur / 2) : wanted;
}

}  // namespace

IdleConnections::IdleConnections(const HttpLimits& limits, Ready ready)
    : limits_(limits),
      ready_(std::move(ready)),
      most_(most_connections(limits.idle_connections)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  check(epoll_ >= 0, Code::kOutOfMemory, "no descriptor is left to watch connections with");
  thread_ = std::thread([this] { run(); });
}

IdleConnections::~IdleConnections() {
  stop();
  ::close(epoll_);
}

void IdleConnections::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    while (!idle_.empty()) close(idle_.begin());
  }
  if (thread_.joinable()) thread_.join();
}

void IdleConnections::add(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  const int socket = connection->socket();
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP, .data = {.fd = socket}};
  if (stopped_ || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) return connection->close_at_once();
  places_[socket] = idle_.insert(idle_.end(), {std::move(connection), Clock::now()});
  if (idle_.size() > most_) close(idle_.begin());
}

std::unique_ptr<Connection> IdleConnections::take(Place place) {
  std::unique_ptr<Connection> connection = std::move(place->connection);
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection->socket(), nullptr);
  places_.erase(connection->socket());
  idle_.erase(place);
  return connection;
}

void IdleConnections::run() {
  constexpr int kGlance = 200;  // milliseconds, for those that time out, and for stop()
  std::array<epoll_event, 64> events;
  std::vector<std::unique_ptr<Connection>> ready;
  while (true) {
    const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), kGlance);
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      for (int i = 0; i < n; ++i) {
        const auto found = places_.find(events[static_cast<size_t>(i)].data.fd);
        if (found != places_.end()) ready.push_back(take(found->second));
      }
      const auto old = Clock::now() - std::chrono::milliseconds(static_cast<int64_t>(limits_.idle_seconds * 1000));
      while (!idle_.empty() && idle_.front().since < old) close(idle_.begin());
    }
    for (auto& connection : ready) ready_(std::move(connection));
    ready.clear();
  }
}

}  // namespace v4rt::server
