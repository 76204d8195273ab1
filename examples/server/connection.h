#pragma once

#include <httplib.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <chrono>

#include "examples/server/http_server.h"

namespace v4rt::server {

// One client's connection as httplib reads and writes it. A request has a size and a time, whatever pieces it comes in;
// so have the pieces of an answer.
class Connection final : public httplib::Stream {
 public:
  // `waiting`: how many others wait for a thread.
  Connection(int socket, const HttpLimits& limits, const std::atomic<size_t>& waiting)
      : socket_(socket), limits_(limits), waiting_(waiting) {}
  ~Connection() override;  // closes it, so that what was written arrives
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void begin_request();  // from here on its limits count
  void head_is_read() { head_left_ = SIZE_MAX; }
  bool head_too_large() const { return head_left_ == 0; }
  bool gone() const;
  void close_at_once() { at_once_ = true; }       // in the destructor: nothing is on its way
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
  bool in_time() const;
  bool fill();

  const int socket_;
  const HttpLimits& limits_;
  const std::atomic<size_t>& waiting_;
  Clock::time_point begin_time_;
  size_t head_left_ = SIZE_MAX;
  bool closing_ = false, at_once_ = false;
  std::array<char, 16384> buffer_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace v4rt::server
