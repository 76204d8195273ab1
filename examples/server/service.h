#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "examples/server/api/api.h"
#include "examples/server/api/model_info.h"
#include "examples/server/http_server.h"
#include "examples/server/metrics.h"
#include "examples/server/op_times.h"
#include "graph/runtime/engine.h"

namespace v4rt::server {

struct ServiceOptions {
  ModelInfo model;
  std::vector<std::string> keys;  // one of them opens; none: no key is asked for
  double answer_seconds = 600;    // that an answer may take, waiting included
  double quiet_seconds = 5;       // after which a client hears that we are alive
  std::string loopback;           // not empty: listens there alone, and answers requests
                                  // to that host only
  std::function<void(const OrderedJson& line)> log;
  bool log_text = false;                    // what is asked and answered, too
  std::shared_ptr<const OpTimes> op_times;  // none: not measured
};

// What the server answers to which path.
class Service final : public HttpHandler {
 public:
  Service(Engine& engine, ServiceOptions options) : engine_(engine), options_(std::move(options)) {}

  std::optional<HttpResponse> refuse(const HttpRequest& head) override;
  HttpResponse answer(const HttpRequest& request) override;
  HttpResponse problem(const std::string& path, int status, std::string_view message) override;
  void answered(const std::string& method, const std::string& path, int status, double seconds) override;

  void drain() { draining_ = true; }  // new requests for answers are turned away

 private:
  struct Route;
  static const Route* find(const std::string& method, const std::string& path);
  bool known_key(const HttpRequest& request) const;

  HttpResponse health() const;
  HttpResponse metrics() const;
  HttpResponse reply(Ask ask, std::shared_ptr<ReplyFormat> format, const HttpRequest& request);
  void log_answer(const Ask& ask, const std::vector<Choice>& choices) const;

  Engine& engine_;
  const ServiceOptions options_;
  Metrics metrics_;
  std::atomic<bool> draining_ = false;
};

}  // namespace v4rt::server
