#include "examples/server/service.h"

#include <algorithm>
#include <chrono>

#include "examples/server/api/anthropic.h"
#include "examples/server/api/chat_request.h"
#include "examples/server/api/openai.h"
#include "examples/server/api/responses.h"
#include "examples/server/page.h"
#include "examples/server/plan_summary.h"
#include "examples/server/reply.h"
#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt::server {
namespace {

using Clock = Reply::Clock;

std::chrono::nanoseconds seconds(double n) { return std::chrono::nanoseconds(static_cast<int64_t>(n * 1e9)); }

HttpResponse json_response(int status, const OrderedJson& body) {
  return {.status = status, .body = json(body) + "\n"};
}

// The page loads nothing, talks to this server alone, and belongs in no frame.
HttpResponse html_page() {
  return {.type = "text/html; charset=utf-8",
          .body = std::string(page()),
          .headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
                       "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cache-Control", "no-cache"}}};
}

// What went wrong, as a client may know it. To be called while an exception is handled.
ApiError current_error() {
  try {
    throw;
  } catch (const ApiError& error) {
    return error;
  } catch (const Error& error) {
    return {error.code() == Code::kInvalidArgument ? 400
            : error.code() == Code::kOutOfMemory   ? 503
                                                   : 500,
            error.what()};
  } catch (const std::bad_alloc&) {
    return {503, "out of memory", 1};
  } catch (const std::exception& error) {
    return {500, error.what()};
  }
}

// Takes time that depends on neither.
bool same_key(std::string_view given, std::string_view key) {
  size_t differences = given.size() ^ key.size();
  for (size_t i = 0; i < given.size(); ++i)
    differences |= static_cast<size_t>(given[i] ^ (key.empty() ? '\0' : key[i % key.size()]));
  return differences == 0;
}

}  // namespace

struct Service::Route {
  enum class What : uint8_t {
    kPage,
    kHealth,
    kMetrics,
    kPlan,
    kModels,
    kModel,
    kChat,
    kCompletion,
    kResponses,
    kMessages,
    kCount,
    kClaudeModels
  };
  std::string_view method, path;
  What what;
};

const Service::Route* Service::find(const std::string& method, const std::string& path) {
  using What = Route::What;
  static constexpr Route kRoutes[] = {
      {"GET", "/", What::kPage},
      {"GET", "/health", What::kHealth},
      {"GET", "/plan", What::kPlan},
      {"GET", "/metrics", What::kMetrics},
      {"GET", "/v1/models", What::kModels},
      {"GET", "/models", What::kModels},
      {"POST", "/v1/chat/completions", What::kChat},
      {"POST", "/chat/completions", What::kChat},
      {"POST", "/beta/chat/completions", What::kChat},
      {"POST", "/v1/completions", What::kCompletion},
      {"POST", "/completions", What::kCompletion},
      {"POST", "/beta/completions", What::kCompletion},
      {"POST", "/v1/responses", What::kResponses},
      {"POST", "/responses", What::kResponses},
      {"POST", "/v1/messages", What::kMessages},
      {"POST", "/anthropic/v1/messages", What::kMessages},
      {"POST", "/anthropic/messages", What::kMessages},
      {"POST", "/v1/messages/count_tokens", What::kCount},
      {"POST", "/anthropic/v1/messages/count_tokens", What::kCount},
      {"GET", "/anthropic/v1/models", What::kClaudeModels},
  };
  static constexpr Route kModel = {"GET", "/v1/models/", What::kModel};
  const auto found = std::find_if(std::begin(kRoutes), std::end(kRoutes),
                                  [&](const Route& route) { return route.method == method && route.path == path; });
  if (found != std::end(kRoutes)) return found;
  return method == kModel.method && path.starts_with(kModel.path) ? &kModel : nullptr;
}

bool Service::known_key(const HttpRequest& request) const {
  std::string given = request.header("x-api-key").value_or("");
  if (const auto authorization = request.header("Authorization")) {
    constexpr std::string_view kScheme = "Bearer ";
    given = authorization->starts_with(kScheme) ? authorization->substr(kScheme.size()) : "";
  }
  bool known = false;
  for (const std::string& key : options_.keys) known |= same_key(given, key);
  return known;
}

std::optional<HttpResponse> Service::refuse(const HttpRequest& head) {
  const Route* route = find(head.method, head.path);
  if (route == nullptr) return problem(head.path, 404, "there is no such route");
  if (!options_.loopback.empty()) {
    // A page of another site whose name leads here could otherwise talk to us as if it were ours.
    std::string host = head.header("Host").value_or("");
    host = host.substr(0, host.rfind(':') > host.rfind(']') || host.find(']') == std::string::npos ? host.rfind(':')
                                                                                                   : std::string::npos);
    if (host != "localhost" && host != "127.0.0.1" && host != "[::1]" && host != options_.loopback)
      return problem(head.path, 403, "this server answers requests to localhost only");
  }
  const bool open = route->what == Route::What::kHealth || route->what == Route::What::kPage;
  if (!open && !options_.keys.empty() && !known_key(head))
    return problem(head.path, 401, "the API key is missing or wrong");
  return std::nullopt;
}

HttpResponse Service::problem(const std::string& path, int status, std::string_view message) {
  const bool anthropic = path.starts_with("/v1/messages") || path.starts_with("/anthropic/");
  const ApiError error{status, std::string(message)};
  return json_response(status, anthropic ? anthropic::error(error) : openai::error(error));
}

HttpResponse Service::answer(const HttpRequest& request) {
  const Route& route = *find(request.method, request.path);
  try {
    switch (route.what) {
      case Route::What::kPage: return html_page();
      case Route::What::kHealth: return health();
      case Route::What::kPlan: return json_response(200, plan_summary(engine_.model()));
      case Route::What::kMetrics: return metrics();
      case Route::What::kModels: return json_response(200, openai::models(options_.model));
      case Route::What::kModel:
        if (request.path.substr(route.path.size()) != options_.model.name)
          throw ApiError{404, fmt::format("the model here is {}", options_.model.name)};
        return json_response(200, openai::describe(options_.model));
      case Route::What::kClaudeModels: return json_response(200, anthropic::models(options_.model));
      default: break;
    }
    if (draining_) throw ApiError{503, "the server is about to end", 5};
    const Json body = parse_request_json(request.body, "the request");
    if (options_.log_text) options_.log({{"event", "asked"}, {"path", request.path}, {"body", body}});
    if (route.what == Route::What::kCount) return json_response(200, anthropic::count_tokens(body, options_.model));
    Asked asked = route.what == Route::What::kChat         ? openai::chat(body, options_.model)
                  : route.what == Route::What::kCompletion ? openai::completion(body, options_.model)
                  : route.what == Route::What::kResponses  ? responses::create(body, options_.model)
                                                           : anthropic::messages(body, options_.model);
    return reply(std::move(asked.ask), std::move(asked.format), request);
  } catch (...) {
    const ApiError error = current_error();
    HttpResponse response = problem(request.path, error.status, error.message);
    if (error.retry_after > 0) response.headers.emplace_back("Retry-After", std::to_string(error.retry_after));
    return response;
  }
}

HttpResponse Service::health() const {
  const std::string failure = engine_.failure();
  const bool ok = failure.empty() && !draining_;
  OrderedJson body = {{"status", ok ? "ok" : failure.empty() ? "draining" : "failed"}};
  if (!failure.empty()) body["error"] = failure;
  return json_response(ok ? 200 : 503, body);
}

HttpResponse Service::metrics() const {
  return {.type = "text/plain; version=0.0.4",
          .body = metrics_.text(engine_) + (options_.op_times ? options_.op_times->text() : "")};
}

// One that is not streamed has a status of its own as long as it comes soon. After that, empty lines are sent while it
// is made, which JSON allows before a value.
HttpResponse Service::reply(Ask ask, std::shared_ptr<ReplyFormat> format, const HttpRequest& request) {
  const auto deadline = Clock::now() + seconds(options_.answer_seconds);
  const auto reply = std::make_shared<Reply>(engine_, *options_.model.tokenizer, metrics_, ask, deadline);
  constexpr auto kGlance = std::chrono::milliseconds(500);  // for a client that went away
  const auto quiet = seconds(options_.quiet_seconds);
  if (ask.stream) {
    return {.type = "text/event-stream",
            .headers = {{"Cache-Control", "no-cache"}},
            .stream = [=, this](const HttpResponse::Write& write) {
              auto said = Clock::now();
              const auto say = [&](const std::string& text) {
                said = Clock::now();
                return write(text);
              };
              try {
                bool there = say(format->begin());
                while (there && !reply->done()) {
                  std::string events;
                  for (const Piece& piece : reply->next(Clock::now() + kGlance)) events += format->piece(piece);
                  if (reply->done()) events += format->end(reply->choices());
                  if (events.empty() && Clock::now() - said >= quiet) events = format->alive();
                  there = events.empty() ? write("") : say(events);
                }
              } catch (...) {
                say(format->failed(current_error()));
              }
              log_answer(ask, reply->choices());
            }};
  }
  for (const auto late = Clock::now() + quiet; !reply->done() && Clock::now() < late;) {
    reply->next(Clock::now() + kGlance);
    if (request.gone()) throw ApiError{499, "the client went away"};
  }
  if (reply->done()) {
    log_answer(ask, reply->choices());
    return {.body = format->whole(reply->choices()) + "\n"};
  }
  return {.stream = [=, this, path = request.path](const HttpResponse::Write& write) {
    auto said = Clock::now();
    bool there = write("\n");
    try {
      while (there && !reply->done()) {
        reply->next(Clock::now() + kGlance);
        const bool now = Clock::now() - said >= quiet;
        if (now) said = Clock::now();
        there = write(now ? "\n" : "");
      }
      if (there) write(format->whole(reply->choices()) + "\n");
    } catch (...) {
      const ApiError error = current_error();
      write(problem(path, error.status, error.message).body);
    }
    log_answer(ask, reply->choices());
  }};
}

void Service::log_answer(const Ask& ask, const std::vector<Choice>& choices) const {
  for (const Choice& choice : choices) {
    OrderedJson line = {{"event", "answer"},
                        {"stream", ask.stream},
                        {"done", choice.done},
                        {"prompt_tokens", choice.prompt_tokens},
                        {"cached_tokens", choice.cached_tokens},
                        {"tokens", choice.tokens}};
    if (options_.log_text) {
      line["reasoning"] = choice.reasoning;
      line["content"] = choice.content;
      for (const Call& call : choice.calls)
        line["calls"].push_back({{"name", call.name}, {"arguments", call.arguments}});
    }
    options_.log(line);
  }
}

void Service::answered(const std::string& method, const std::string& path, int status, double seconds) {
  metrics_.answered(status);
  // What is no route may hold anything.
  options_.log({{"event", "request"},
                {"method", method},
                {"path", find(method, path) != nullptr ? path : "?"},
                {"status", status},
                {"seconds", seconds}});
}

}  // namespace v4rt::server
