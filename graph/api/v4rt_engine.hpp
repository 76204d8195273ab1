#pragma once

// Many requests at once, for C++20: v4rt_engine of v4rt.h.
//
//   v4rt::Engine engine(model);
//   v4rt::Answer answer = engine.ask({.prompt = ids, .tokenizer = &tokenizer});
//   while (auto event = answer.next()) std::cout << event->text;

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <v4rt.hpp>
#include <vector>

namespace v4rt {
inline namespace api0 {

struct EngineOptions {
  std::string cache_folder = {};
  uint64_t cache_folder_bytes = 0, cache_memory = 0;  // 0: 4 GiB, 1 GiB
  bool no_cache = false;
  int max_waiting = 64;
};

struct Request {
  std::span<const int32_t> prompt;
  SamplerOptions sampler = {};
  const Tokenizer* tokenizer = nullptr;  // for the text of events, and for `stop`
  std::vector<std::string> stop = {};
  std::string cache_space = {};
  std::function<void()> news = {};  // from the engine's thread; must not call v4rt, nor throw
  int64_t max_tokens = 128;
  bool ignore_end_token = false;
};

// One request under way; cancelled when it goes before its end. The engine may go first.
class Answer {
 public:
  struct Event {
    int32_t token;          // -1: none, only the text that was held back at the end
    std::string_view text;  // valid, as logprobs, until the next call
    std::span<const v4rt_token_logprob> logprobs;
  };

  Answer(Answer&&) = default;
  Answer& operator=(Answer&& other) noexcept {  // the handle that goes is closed before what it calls
    handle_ = std::move(other.handle_);
    called_ = std::move(other.called_);
    done_ = other.done_;
    return *this;
  }

  // Waits for what comes next. Nothing: it is complete, which done() says, or nothing came within `seconds`.
  std::optional<Event> next(double seconds = -1) {
    if (done_) return std::nullopt;
    v4rt_event event{};
    event.struct_size = sizeof(event);
    const v4rt_status status = v4rt_answer_next(handle_.get(), seconds, &event);
    if (status != V4RT_OK) called_->filter.callback.check(status);
    done_ = event.kind == V4RT_EVENT_END;
    if (event.kind == V4RT_EVENT_NONE || (done_ && event.n_bytes == 0)) return std::nullopt;
    return Event{done_ ? -1 : event.token, {event.text, event.n_bytes}, {event.logprobs, event.n_logprobs}};
  }

  bool done() const { return done_; }
  void cancel() { detail::check(v4rt_answer_cancel(handle_.get())); }
  v4rt_generate_result result() const {  // when it is done
    v4rt_generate_result result{};
    result.struct_size = sizeof(result);
    detail::check(v4rt_answer_result(handle_.get(), &result));
    return result;
  }

 private:
  friend class Engine;
  struct Called {  // by the engine's thread, until the handle is closed
    explicit Called(const Request& request) : news(request.news), filter(request.sampler.filter) {}
    std::function<void()> news;
    detail::Filter filter;
  };
  Answer(std::unique_ptr<Called> called, v4rt_answer* handle) : called_(std::move(called)), handle_(handle) {}

  std::unique_ptr<Called> called_;
  detail::Handle<v4rt_answer, v4rt_answer_close> handle_;
  bool done_ = false;
};

// Runs many requests over the slots of a session of its own. Used from any thread. What it has not answered when it
// goes ends with V4RT_CANCELLED.
class Engine {
 public:
  explicit Engine(const Model& model, const EngineOptions& options = {}) {
    v4rt_engine_options c{};
    c.struct_size = sizeof(c);
    if (!options.cache_folder.empty()) c.cache_folder = options.cache_folder.c_str();
    c.cache_folder_bytes = options.cache_folder_bytes;
    c.cache_memory = options.cache_memory;
    c.no_cache = options.no_cache ? 1 : 0;
    c.max_waiting = options.max_waiting;
    v4rt_engine* engine = nullptr;
    detail::check(v4rt_engine_open(model.get(), &c, &engine));
    handle_.reset(engine);
  }

  // Throws V4RT_BUSY when as many wait as may.
  Answer ask(const Request& request) {
    auto called = std::make_unique<Answer::Called>(request);
    const v4rt_sampler_options sampler = detail::for_c(request.sampler, called->filter);
    std::vector<const char*> stop;
    for (const std::string& string : request.stop) stop.push_back(string.c_str());
    v4rt_request c{};
    c.struct_size = sizeof(c);
    c.prompt = request.prompt.data();
    c.n_prompt = request.prompt.size();
    c.sampler = &sampler;
    c.tokenizer = request.tokenizer != nullptr ? request.tokenizer->get() : nullptr;
    c.stop = stop.data();
    c.n_stop = stop.size();
    c.cache_space = request.cache_space.c_str();
    if (request.news) {
      c.news = [](void* user) { static_cast<Answer::Called*>(user)->news(); };
      c.user = called.get();
    }
    c.max_tokens = request.max_tokens;
    c.ignore_end_token = request.ignore_end_token ? 1 : 0;
    v4rt_answer* answer = nullptr;
    detail::check(v4rt_answer_open(handle_.get(), &c, &answer));
    return Answer(std::move(called), answer);
  }

  v4rt_engine_info info() const {
    v4rt_engine_info info{};
    info.struct_size = sizeof(info);
    detail::check(v4rt_engine_get_info(handle_.get(), &info));
    return info;
  }

 private:
  detail::Handle<v4rt_engine, v4rt_engine_close> handle_;
};

}  // namespace api0
}  // namespace v4rt
