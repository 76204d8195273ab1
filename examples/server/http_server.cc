#include "examples/server/http_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "examples/server/idle_connections.h"
#include "ops/core/error.h"

namespace v4rt::server {
namespace {

// Threads for connections, made as they are needed. Connections beyond them wait here.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  ConnectionThreads(size_t most, std::atomic<size_t>& waiting) : most_(most), waiting_(waiting) {}

  void enqueue(std::function<void()> task) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    waiting_ = tasks_.size();
    if (idle_ < tasks_.size() && threads_.size() < most_) {
      ++idle_;
      threads_.emplace_back([this] { work(); });
    }
    came_.notify_one();
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      came_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      came_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      waiting_ = tasks_.size();
      --idle_;
      lock.unlock();
      task();
      lock.lock();
      ++idle_;
    }
  }

  const size_t most_;
  std::atomic<size_t>& waiting_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool over_ = false;
};

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 16 && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

struct HttpServer::Impl final : httplib::Server {
  Impl(HttpHandler& h, const HttpLimits& l)
      : handler(h), limits(l), idle(limits, [this](auto connection) { enqueue(std::move(connection)); }) {
    new_task_queue = [this] { return threads = new ConnectionThreads(limits.connections, waiting); };
    // httplib would share the port with whoever else listens there.
    set_socket_options([](int socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    set_tcp_nodelay(true);
    set_pre_routing_handler([this](const auto& request, auto& response) { return before_body(request, response); });
    Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                      const httplib::ContentReader& read) { with_body(request, response, read); });
    set_error_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (response.body.empty()) explain(request, response);
    });
    set_post_routing_handler([this](const auto&, auto& response) {
      if (!connection()->closing()) return;
      response.headers.erase("Keep-Alive");
      response.set_header("Connection", "close");
    });
    set_logger([this](const httplib::Request& request, const httplib::Response& response) {
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - began();
      handler.answered(request.method, request.path, response.status, time.count());
    });
  }

  // Of this thread.
  static Connection*& connection() {
    thread_local Connection* current = nullptr;
    return current;
  }
  static std::chrono::steady_clock::time_point& began() {
    thread_local std::chrono::steady_clock::time_point time;
    return time;
  }

  bool process_and_close_socket(int socket) override {
    serve(std::make_unique<Connection>(socket, limits, waiting));
    return true;
  }

  // Its requests, as long as there are some.
  void serve(std::unique_ptr<Connection> client) {
    connection() = client.get();
    while (client->is_readable()) {
      ++busy;
      began() = std::chrono::steady_clock::now();
      client->begin_request();
      bool last = false;
      const bool ok = process_request(*client, stopping, last, [&](httplib::Request& request) {
        client->head_is_read();
        request.headers.erase("Accept-Encoding");  // answers are small, and streams must not
                                                   // wait in a compressor
        request.ranges.clear();
      });
      --busy;
      if (!ok || last || stopping || client->closing()) {
        connection() = nullptr;
        return;
      }
    }
    connection() = nullptr;
    idle.add(std::move(client));
  }
  void enqueue(std::unique_ptr<Connection> client) {
    const auto shared = std::make_shared<std::unique_ptr<Connection>>(std::move(client));  // functions are copied
    threads->enqueue([this, shared] { serve(std::move(*shared)); });
  }

  HttpRequest request_of(const httplib::Request& request) const {
    HttpRequest mine{.method = request.method, .path = request.path};
    mine.header = [&request](const std::string& name) -> std::optional<std::string> {
      if (!request.has_header(name)) return std::nullopt;
      return request.get_header_value(name);
    };
    mine.gone = [client = connection()] { return client->gone(); };
    return mine;
  }

  void put(HttpResponse mine, httplib::Response& response) {
    response.status = mine.status;
    for (const auto& [name, value] : mine.headers) response.set_header(name, value);
    if (!mine.stream) return response.set_content(mine.body, mine.type);
    response.set_chunked_content_provider(
        mine.type, [stream = std::move(mine.stream)](size_t, httplib::DataSink& sink) {
          bool there = true;
          stream([&](std::string_view text) {
            there = there && sink.is_writable() && (text.empty() || sink.write(text.data(), text.size()));
            return there;
          });
          if (there) sink.done();
          return there;
        });
  }

  // What is wrong with the way that the body is announced: a status and why, or 0.
  std::pair<int, std::string_view> wrong_body(const httplib::Request& request) const {
    const size_t lengths = request.get_header_value_count("Content-Length");
    const std::string length = request.get_header_value("Content-Length");
    const bool chunked = request.has_header("Transfer-Encoding");
    if (lengths > 1 || (lengths == 1 && (chunked || !is_number(length))))
      return {400,
              "the body's length is not clear from Content-Length and "
              "Transfer-Encoding"};
    if (chunked && request.get_header_value("Transfer-Encoding") != "chunked")
      return {501, "Transfer-Encoding can be chunked only"};
    if (lengths == 1 && std::stoull(length) > limits.body) return {413, "the body is too large"};
    if (request.method != "POST") return {0, ""};
    if (lengths == 0 && !chunked) return {411, "a POST needs Content-Length or Transfer-Encoding: chunked"};
    if (request.has_header("Content-Encoding")) return {415, "a body cannot be compressed"};
    // Asked for also because a browser lets other sites' pages send anything but this without asking us first.
    if (!request.get_header_value("Content-Type").starts_with("application/json"))
      return {415, "Content-Type has to be application/json"};
    return {0, ""};
  }

  HandlerResponse before_body(const httplib::Request& request, httplib::Response& response) {
    const auto announced = [&] {
      return request.has_header("Transfer-Encoding") ||
             (request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0");
    };
    auto [status, why] = wrong_body(request);
    if (request.path.size() > limits.path)
      std::tie(status, why) = std::pair(414, std::string_view("the path is too long"));
    HttpRequest mine = request_of(request);
    std::optional<HttpResponse> refused =
        status != 0 ? handler.problem(request.path, status, why) : handler.refuse(mine);
    if (!refused && request.method == "POST") return HandlerResponse::Unhandled;  // its body comes next
    if (announced()) connection()->close_after_answer();
    put(refused ? std::move(*refused) : handler.answer(mine), response);
    return HandlerResponse::Handled;
  }

  void with_body(const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& read) {
    HttpRequest mine = request_of(request);
    bool fits = true;
    const bool whole = read([&](const char* data, size_t size) {
      fits = mine.body.size() + size <= limits.body;
      if (fits) mine.body.append(data, size);
      return fits;
    });
    if (!whole) {
      connection()->close_after_answer();
      return put(
          handler.problem(request.path, fits ? 400 : 413,
                          fits ? "the body is cut short, malformed, or came too slowly" : "the body is too large"),
          response);
    }
    put(handler.answer(mine), response);
  }

  // What httplib itself refused.
  void explain(const httplib::Request& request, httplib::Response& response) {
    connection()->close_after_answer();
    const bool large = connection()->head_too_large();
    const int status = large ? 431 : response.status;
    put(handler.problem(request.path, status,
                        large ? "the head of the request is too large" : "this is not a request that can be read"),
        response);
  }

  HttpHandler& handler;
  const HttpLimits limits;
  std::atomic<bool> stopping = false;
  std::atomic<size_t> busy = 0, waiting = 0;
  ConnectionThreads* threads = nullptr;  // httplib's
  IdleConnections idle;

  int listen_queue(const std::string& host, int port) {
    const bool ok = port == 0 ? (port = bind_to_any_port(host)) > 0 : bind_to_port(host, port);
    check(ok, Code::kInvalidArgument,
          "cannot listen at {}, port {}: is the address this machine's, and "
          "the port free?",
          host, port);
    ::listen(svr_sock_, SOMAXCONN);  // httplib lets five wait
    return port;
  }
};

HttpServer::HttpServer(HttpHandler& handler, const HttpLimits& limits)
    : impl_(std::make_unique<Impl>(handler, limits)) {}
HttpServer::~HttpServer() = default;

int HttpServer::bind(const std::string& host, int port) { return impl_->listen_queue(host, port); }
void HttpServer::run() { impl_->listen_after_bind(); }

void HttpServer::stop() {
  impl_->stopping = true;
  impl_->idle.stop();  // so that nothing comes from there to threads that are no more
  impl_->stop();
}

size_t HttpServer::busy() const { return impl_->busy; }

}  // namespace v4rt::server
