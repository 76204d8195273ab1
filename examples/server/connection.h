#pragma once

#include <httplib.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <functional>

#include "examples/server/http_server.h"

namespace v4rt::server {

// One client's connection as httplib reads and writes it. A request has a size and a time, whatever pieces it comes in;
// so have the pieces of an answer.
class Connection final : public httplib::Stream {
 public:
  Connection(int socket, const HttpLimits& limits) : socket_(socket), limits_(limits) {}
  ~Connection() override;  // closes it, so that what was written arrives
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Waits for the first byte of a request: false when the client closed, waited too long, or `hurry` says to stop.
  bool wait(const std::function<bool()>& hurry);
  void begin_request();  // from here on its limits count
  void head_is_read() { head_left_ = SIZE_MAX; }
  bool head_too_large() const { return head_left_ == 0; }
  bool gone() const;
  void close_after_answer() { closing_ = true; }  // what is left unread must not be taken for a request
  bool closing() const { return closing_; }

  bool is_readable() const override { return begin_ < end_ || ready(POLLIN, 0); }
  bool is_writable() const override { return !gone(); }
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  // Nobody asks for addresses.
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  int socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool ready(short events, double seconds) const;
  bool fill();

  const int socket_;
  const HttpLimits& limits_;
  Clock::time_point deadline_;
  size_t head_left_ = SIZE_MAX;
  bool closing_ = false;
  std::array<char, 16384> buffer_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace v4rt::server
