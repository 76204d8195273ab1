#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace v4rt::server {

struct HttpRequest {
  std::string method, path;                                                   // without the query
  std::string body;                                                           // empty while refuse() is asked
  std::function<std::optional<std::string>(const std::string& name)> header;  // the first of that name
  std::function<bool()> gone;                                                 // the client closed the connection
};

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  // In place of a body: writes all of it, piece by piece. A write, also of nothing, returns false when the client is
  // gone.
  using Write = std::function<bool(std::string_view)>;
  std::function<void(const Write&)> stream;
};

// What a server does with requests. Called from the threads of connections.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Asked before a body is read: a response refuses the request.
  virtual std::optional<HttpResponse> refuse(const HttpRequest& head) = 0;
  virtual HttpResponse answer(const HttpRequest& request) = 0;
  // To what is no request that can be answered.
  virtual HttpResponse problem(const std::string& path, int status, std::string_view message) = 0;
  virtual void answered(const std::string& method, const std::string& path, int status, double seconds) = 0;
};

struct HttpLimits {
  size_t body = size_t{32} << 20;  // bytes
  size_t head = size_t{16} << 10;  // bytes of the request line and the header
  size_t path = 1024;              // bytes
  size_t connections = 256;        // with a request under way; more wait
  size_t idle_connections = 4096;  // without one; the longest silent are closed for others
  double request_seconds = 60;     // from a request's first byte to its last,
  double hurried_seconds = 5;      // and while others wait
  double idle_seconds = 30;        // between requests
  double write_seconds = 30;       // that a client may take none of an answer
};

// cpp-httplib with limits on what a client may send and how long it may take, which the library lacks.
class HttpServer {
 public:
  HttpServer(HttpHandler& handler, const HttpLimits& limits);
  ~HttpServer();

  // Port 0 takes any. Returns the port. Throws Error when the address cannot be had.
  int bind(const std::string& host, int port);
  void run();           // until stop()
  void stop();          // no more connections; those that there are end after the
                        // request that they are at
  size_t busy() const;  // connections with a request under way

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v4rt::server
