#include "graph/runtime/engine.h"

#include <cmath>

#include "graph/api/boundary.h"
#include "graph/api/host_filter.h"
#include "loaders/text/stop_strings.h"

using v4rt::AnswerQueue;
using v4rt::Code;
using v4rt::api::check_flag;
using v4rt::api::guarded;
using v4rt::api::require;

struct v4rt_engine {
  std::shared_ptr<v4rt::Engine> engine;
  const std::exception_ptr closed =
      std::make_exception_ptr(v4rt::api::Cancelled("the engine was closed before the answer was complete"));
};

struct v4rt_answer {
  v4rt_answer(std::shared_ptr<v4rt::Engine> of, std::shared_ptr<AnswerQueue> from,
              std::shared_ptr<const v4rt::Tokenizer> tokens, std::vector<std::string> strings)
      : engine(std::move(of)), queue(std::move(from)), tokenizer(std::move(tokens)), stop(std::move(strings)) {}

  void cancel() noexcept {
    if (const auto open = engine.lock()) open->cancel(id);
  }
  v4rt_event_kind take(AnswerQueue::Event event);

  const std::weak_ptr<v4rt::Engine> engine;  // which may be closed before the answer
  const std::shared_ptr<AnswerQueue> queue;
  const std::shared_ptr<const v4rt::Tokenizer> tokenizer;
  uint64_t id = 0;
  std::shared_ptr<v4rt::api::HostFilter> filter = {};  // if there is one
  v4rt::StopStrings stop;
  v4rt::Utf8Stream utf8;
  AnswerQueue::Event last;  // the end, once it has come
  std::string text;         // of the last event
  int64_t tokens = 0;
  bool over = false;
};

// Those that come after a stop string are none.
v4rt_event_kind v4rt_answer::take(AnswerQueue::Event event) {
  if (event.token >= 0 && stop.stopped()) return V4RT_EVENT_NONE;
  last = std::move(event);
  if (last.token < 0) {
    over = true;
    last.result.tokens = tokens;
    if (!last.error) text = utf8.push(stop.flush()) + utf8.flush();
    return V4RT_EVENT_END;
  }
  ++tokens;
  if (tokenizer != nullptr) text = utf8.push(stop.push(tokenizer->token_bytes(last.token)));
  if (stop.stopped()) cancel();
  return V4RT_EVENT_TOKEN;
}

v4rt_status v4rt_engine_open(v4rt_model* model, const v4rt_engine_options* options, v4rt_engine** engine) {
  return guarded([&] {
    require(model, "v4rt_engine_open: model");
    require(engine, "v4rt_engine_open: engine");
    const auto o = v4rt::api::read_options(options, "v4rt_engine_options");
    check_flag(o.no_cache, "v4rt_engine_options.no_cache");
    v4rt::check(o.max_waiting >= 0, Code::kInvalidArgument,
                "v4rt_engine_options.max_waiting is {}; it may not be negative", o.max_waiting);
    v4rt::EngineOptions chosen;
    if (o.max_waiting > 0) chosen.max_waiting = static_cast<size_t>(o.max_waiting);
    if (o.no_cache == 0) {
      v4rt::PrefixCacheOptions& cache = chosen.cache.emplace();
      if (o.cache_memory > 0) cache.memory = o.cache_memory;
      if (o.cache_folder != nullptr) cache.folder = o.cache_folder;
      if (o.cache_folder_bytes > 0) cache.folder_bytes = o.cache_folder_bytes;
    }
    *engine = new v4rt_engine{std::make_shared<v4rt::Engine>(model->model, chosen)};
  });
}

void v4rt_engine_close(v4rt_engine* engine) {
  if (engine == nullptr) return;
  engine->engine->stop(engine->closed);
  delete engine;
}

v4rt_status v4rt_engine_get_info(const v4rt_engine* engine, v4rt_engine_info* info) {
  return guarded([&] {
    require(engine, "v4rt_engine_get_info: engine");
    require(info, "v4rt_engine_get_info: info");
    v4rt_engine_info result{};
    result.waiting = static_cast<int64_t>(engine->engine->waiting());
    result.running = static_cast<int64_t>(engine->engine->running());
    v4rt::api::write_result(result, info, "v4rt_engine_info");
  });
}

namespace {

std::vector<std::string> stop_strings(const v4rt_request& r) {
  if (r.n_stop == 0) return {};
  require(r.stop, "v4rt_request: stop");
  require(r.tokenizer, "v4rt_request: stop strings need the tokenizer, which");
  std::vector<std::string> strings;
  for (const char* string : std::span(r.stop, r.n_stop)) {
    require(string, "v4rt_request: a stop string");
    strings.emplace_back(string);
  }
  return strings;
}

// Without a sampler.
v4rt::Request request_of(const v4rt_request& r, const v4rt::Model& model) {
  v4rt::check(r.max_tokens >= 0, Code::kInvalidArgument, "v4rt_request.max_tokens is {}; it may not be negative",
              r.max_tokens);
  check_flag(r.ignore_end_token, "v4rt_request.ignore_end_token");
  v4rt::api::check_reserved(r.reserved, "v4rt_request");
  if (r.n_prompt > 0) require(r.prompt, "v4rt_request: prompt");
  v4rt::Request request;
  request.prompt.assign(r.prompt, r.prompt + r.n_prompt);
  if (r.cache_space != nullptr) request.cache_space = r.cache_space;
  if (r.max_tokens > 0) request.options.max_tokens = r.max_tokens;
  if (r.ignore_end_token == 0) request.options.end_tokens = model.config().eos_token_ids;
  return request;
}

// Far enough away for whoever waits, near enough for the clock.
AnswerQueue::Clock::time_point after(double seconds) {
  constexpr double kLongest = 1e8;
  const double wait = seconds < 0 ? kLongest : std::min(seconds, kLongest);
  return AnswerQueue::Clock::now() + std::chrono::nanoseconds(static_cast<int64_t>(wait * 1e9));
}

}  // namespace

v4rt_status v4rt_answer_open(v4rt_engine* engine, const v4rt_request* request, v4rt_answer** answer) {
  return guarded([&] {
    require(engine, "v4rt_answer_open: engine");
    require(request, "v4rt_answer_open: request");
    require(answer, "v4rt_answer_open: answer");
    const auto r = v4rt::api::read_options(request, "v4rt_request");
    v4rt::Request asked = request_of(r, engine->engine->model());
    std::function<void()> news;
    if (r.news != nullptr) news = [tell = r.news, user = r.user] { tell(user); };
    auto made =
        std::make_unique<v4rt_answer>(engine->engine, std::make_shared<AnswerQueue>(std::move(news)),
                                      r.tokenizer != nullptr ? r.tokenizer->tokenizer : nullptr, stop_strings(r));
    auto sampler = v4rt::api::read_sampler(r.sampler, engine->engine->model().config().vocab_size);
    asked.sampler = std::move(sampler.options);
    made->filter = std::move(sampler.filter);
    const std::optional<uint64_t> id = engine->engine->submit(std::move(asked), made->queue);
    if (!id) throw v4rt::api::Busy("as many requests wait as may; try again later, or open the engine with more");
    made->id = *id;
    *answer = made.release();
  });
}

void v4rt_answer_close(v4rt_answer* answer) {
  if (answer == nullptr) return;
  answer->cancel();
  answer->queue->silence();
  if (answer->filter != nullptr) answer->filter->close();
  delete answer;
}

v4rt_status v4rt_answer_cancel(v4rt_answer* answer) {
  return guarded([&] {
    require(answer, "v4rt_answer_cancel: answer");
    answer->cancel();
  });
}

v4rt_status v4rt_answer_next(v4rt_answer* answer, double seconds, v4rt_event* event) {
  return guarded([&] {
    require(answer, "v4rt_answer_next: answer");
    require(event, "v4rt_answer_next: event");
    v4rt::check(!std::isnan(seconds), Code::kInvalidArgument, "v4rt_answer_next: seconds is not a number");
    v4rt::api::check_size(event->struct_size, "v4rt_event");
    answer->text.clear();
    v4rt_event_kind kind = answer->over ? V4RT_EVENT_END : V4RT_EVENT_NONE;
    for (const auto until = after(seconds); kind == V4RT_EVENT_NONE;) {
      std::optional<AnswerQueue::Event> next = answer->queue->pop(until);
      if (!next) break;
      kind = answer->take(std::move(*next));
    }
    if (kind == V4RT_EVENT_END && answer->last.error) std::rethrow_exception(answer->last.error);
    v4rt_event result{};
    result.kind = kind;
    result.text = answer->text.data();
    result.n_bytes = answer->text.size();
    if (kind == V4RT_EVENT_TOKEN) {
      result.token = answer->last.token;
      result.logprobs = reinterpret_cast<const v4rt_token_logprob*>(answer->last.logprobs.data());
      result.n_logprobs = answer->last.logprobs.size();
    }
    v4rt::api::write_result(result, event, "v4rt_event");
  });
}

v4rt_status v4rt_answer_result(const v4rt_answer* answer, v4rt_generate_result* result) {
  return guarded([&] {
    require(answer, "v4rt_answer_result: answer");
    require(result, "v4rt_answer_result: result");
    v4rt::check(answer->over, Code::kInvalidArgument,
                "v4rt_answer_result: the answer is not complete; v4rt_answer_next says when it is");
    const bool stopped = answer->stop.stopped();
    v4rt::api::write_generated(answer->last.result,
                               stopped ? V4RT_STOP_STRING : v4rt::api::to_stop(answer->last.result.stop), result);
  });
}
