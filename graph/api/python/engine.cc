// Engines and answers of v4rt._native: over v4rt_engine.hpp.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <v4rt_engine.hpp>

#include "graph/api/python/arrays.h"

namespace v4rt_python {
namespace {

using namespace nb::literals;

// A file that can be read when news have come, for event loops: the engine's thread need not wait for the interpreter.
class News {
 public:
  News() : file_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (file_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  ~News() { close(file_); }
  News(const News&) = delete;
  News& operator=(const News&) = delete;

  int file() const { return file_; }
  void tell() const { eventfd_write(file_, 1); }
  void forget() const {
    eventfd_t told = 0;
    eventfd_read(file_, &told);
  }

 private:
  const int file_;
};

class Engine {
 public:
  Engine(const v4rt::Model& model, const v4rt::EngineOptions& options) : engine_(std::in_place, model, options) {}
  ~Engine() { close(); }
  v4rt::Engine& open() {
    if (!engine_) throw nb::value_error("the engine is closed");
    return *engine_;
  }
  void close() {
    const nb::gil_scoped_release released;
    engine_.reset();
  }

 private:
  std::optional<v4rt::Engine> engine_;
};

class Answer {
 public:
  Answer(v4rt::Engine& engine, v4rt::Request request) : news_(std::make_shared<News>()) {
    request.news = [news = news_] { news->tell(); };
    const nb::gil_scoped_release released;
    answer_.emplace(engine.ask(request));
  }
  ~Answer() {
    const nb::gil_scoped_release released;
    answer_.reset();
  }

  // (token, text, logprobs), or nothing: it is complete, or nothing came in time.
  std::optional<std::tuple<int32_t, std::string_view, Logprobs>> next(double seconds) {
    std::optional<v4rt::Answer::Event> event;
    {
      const nb::gil_scoped_release released;
      event = answer_->next(seconds);
    }
    if (!event) return std::nullopt;
    return std::tuple(event->token, event->text, pairs(event->logprobs));
  }
  const News& news() const { return *news_; }
  v4rt::Answer& get() { return *answer_; }

 private:
  std::shared_ptr<News> news_;
  std::optional<v4rt::Answer> answer_;
};

}  // namespace

void add_engine(nb::module_& m) {
  nb::class_<v4rt_generate_result>(m, "Result")
      .def_ro("prompt_tokens", &v4rt_generate_result::prompt_tokens)
      .def_ro("cached_tokens", &v4rt_generate_result::cached_tokens)
      .def_ro("tokens", &v4rt_generate_result::tokens)
      .def_ro("drafted", &v4rt_generate_result::drafted)
      .def_ro("accepted", &v4rt_generate_result::accepted)
      .def_ro("prefill_seconds", &v4rt_generate_result::prefill_seconds)
      .def_ro("decode_seconds", &v4rt_generate_result::decode_seconds)
      .def_ro("stop", &v4rt_generate_result::stop);

  nb::class_<Answer>(m, "Answer")
      .def("next", &Answer::next, "seconds"_a)
      .def_prop_ro("done", [](Answer& self) { return self.get().done(); })
      .def_prop_ro("news", [](const Answer& self) { return self.news().file(); })
      .def("forget_news", [](const Answer& self) { self.news().forget(); })
      .def(
          "cancel", [](Answer& self) { self.get().cancel(); }, nb::call_guard<nb::gil_scoped_release>())
      .def("result", [](Answer& self) { return self.get().result(); });

  nb::class_<Engine>(m, "Engine")
      .def(
          "__init__",
          [](Engine* self, const v4rt::Model& model, const std::string& cache_folder, uint64_t cache_folder_bytes,
             uint64_t cache_memory, bool no_cache, int max_waiting) {
            const nb::gil_scoped_release released;
            new (self) Engine(model, {cache_folder, cache_folder_bytes, cache_memory, no_cache, max_waiting});
          },
          "model"_a, "cache_folder"_a, "cache_folder_bytes"_a, "cache_memory"_a, "no_cache"_a, "max_waiting"_a)
      .def(
          "ask",
          [](Engine& self, const Ids& prompt, const v4rt::SamplerOptions& sampler, const v4rt::Tokenizer* tokenizer,
             std::vector<std::string> stop, std::string cache_space, int64_t max_tokens, bool ignore_end_token) {
            return std::make_unique<Answer>(self.open(), v4rt::Request{.prompt = span(prompt),
                                                                       .sampler = sampler,
                                                                       .tokenizer = tokenizer,
                                                                       .stop = std::move(stop),
                                                                       .cache_space = std::move(cache_space),
                                                                       .max_tokens = max_tokens,
                                                                       .ignore_end_token = ignore_end_token});
          },
          "prompt"_a, "sampler"_a, "tokenizer"_a.none(), "stop"_a, "cache_space"_a, "max_tokens"_a,
          "ignore_end_token"_a)
      .def("close", &Engine::close)
      .def("info", [](Engine& self) {
        const v4rt_engine_info info = self.open().info();
        return std::pair(info.waiting, info.running);
      });
}

}  // namespace v4rt_python
