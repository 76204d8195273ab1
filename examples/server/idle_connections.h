#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "examples/server/connection.h"

namespace v4rt::server {

// Connections whose clients have nothing to say at the moment wait here and take no thread. Those that say nothing for
// too long are closed, and when there are too many, those that have been silent longest.
class IdleConnections {
 public:
  using Ready = std::function<void(std::unique_ptr<Connection>)>;  // called by this object's thread

  IdleConnections(const HttpLimits& limits, Ready ready);
  ~IdleConnections();

  void add(std::unique_ptr<Connection> connection);
  void stop();  // closes all, and whatever is added later; none is ready after it

 private:
  using Clock = std::chrono::steady_clock;
  struct Idle {
    std::unique_ptr<Connection> connection;
    Clock::time_point since;
  };
  using Place = std::list<Idle>::iterator;

  void run();
  std::unique_ptr<Connection> take(Place place);
  void close(Place place) { take(place)->close_at_once(); }

  const HttpLimits& limits_;
  const Ready ready_;
  const size_t most_;
  const int epoll_;
  std::mutex mutex_;                       // guards what follows
  std::list<Idle> idle_;                   // the longest silent first
  std::unordered_map<int, Place> places_;  // by socket
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace v4rt::server
