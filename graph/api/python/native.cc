// The module v4rt._native: what python/v4rt/__init__.py needs of v4rt.hpp.

#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "graph/api/python/arrays.h"

namespace v4rt_python {
namespace {

using namespace nb::literals;

// Whether Python's callback says stop; KeyboardInterrupt and its like come out as they are.
using OpenProgress = std::optional<std::function<bool(std::string_view, double)>>;

void on_progress(v4rt::ModelOptions& options, OpenProgress progress) {
  options.progress = nullptr;
  if (!progress) return;
  options.progress = [call = std::move(*progress)](std::string_view what, double done) {
    const nb::gil_scoped_acquire held;
    return PyErr_CheckSignals() == 0 ? call(what, done) : throw nb::python_error();
  };
}

// The caller keeps the arrays as long as the model.
v4rt::Model open_files(const std::vector<std::pair<std::string, Bytes>>& given, const v4rt::ModelOptions& options) {
  std::vector<v4rt::File> files;
  for (const auto& [name, array] : given) files.push_back({name, std::as_bytes(span(array))});
  const nb::gil_scoped_release released;
  return v4rt::Model::open(files, options);
}

// Which tokens may come next: of Python's function of NumPy arrays.
using FilterFunction = std::function<void(nb::object, nb::object)>;

decltype(v4rt::SamplerOptions::filter) token_filter(std::optional<FilterFunction> function) {
  if (!function) return {};
  return [call = std::move(*function)](std::span<const int32_t> chosen, std::span<uint64_t> allowed) {
    const nb::gil_scoped_acquire held;
    const nb::ndarray<nb::numpy, uint64_t> words(allowed.data(), {allowed.size()}, nb::capsule(&allowed));
    call(nb::cast(copied(chosen)), nb::cast(words));
  };
}

// role, content, reasoning, tool_calls, tool_call_id
using Message = std::tuple<std::string, std::string, std::string, std::string, std::string>;

std::vector<int32_t> chat_encode(const v4rt::Tokenizer& tokenizer, const std::vector<Message>& messages,
                                 const std::string& tools, bool thinking, int effort, int revision, bool keep_reasoning,
                                 bool bos) {
  std::vector<v4rt::Message> conversation;
  for (const auto& [role, content, reasoning, calls, call_id] : messages)
    conversation.push_back({role, content, reasoning, calls, call_id});
  return v4rt::chat_encode(tokenizer, conversation,
                           {.thinking = thinking,
                            .effort = static_cast<v4rt_effort>(effort),
                            .revision = static_cast<v4rt_chat_revision>(revision),
                            .keep_reasoning = keep_reasoning,
                            .bos = bos,
                            .tools = tools});
}

using Pieces = std::vector<std::pair<int, std::string>>;  // of a reply: kind and text

// One turn of generation without a detour through Python: appends ids and samples, if there is a sampler.
std::optional<int32_t> advance(v4rt::Session& session, v4rt::Sampler* sampler, std::span<const int32_t> ids, int slot) {
  const std::span<const float> logits = session.feed(ids, slot);
  if (sampler == nullptr) return std::nullopt;
  return sampler->sample(logits);
}

// Logits of every token: rows of the matrices are filled as they come.
auto score(v4rt::Session& session, size_t vocab_size, const Ids& ids, int slot) {
  const size_t n = ids.size();
  auto logits = std::make_unique_for_overwrite<float[]>(n * vocab_size);
  std::unique_ptr<float[]> mtp;
  {
    const nb::gil_scoped_release released;
    const auto take = [&](int64_t i, std::span<const float> row, std::span<const float> further) {
      const size_t at = static_cast<size_t>(i) * vocab_size;
      std::copy(row.begin(), row.end(), logits.get() + at);
      if (further.empty()) return;
      if (mtp == nullptr) mtp = std::make_unique_for_overwrite<float[]>((n - 1) * vocab_size);
      std::copy(further.begin(), further.end(), mtp.get() + at);
    };
    session.score(span(ids), take, slot);
  }
  const nb::object second = mtp == nullptr ? nb::none() : nb::cast(owned_array(std::move(mtp), {n - 1, vocab_size}));
  return nb::make_tuple(owned_array(std::move(logits), {n, vocab_size}), second);
}

}  // namespace
}  // namespace v4rt_python

NB_MODULE(_native, m) {
  using namespace v4rt_python;
  nb::exception<v4rt::Error> error(m, "Error", PyExc_RuntimeError);
  nb::register_exception_translator(
      [](const std::exception_ptr& thrown, void* type) {
        try {
          std::rethrow_exception(thrown);
        } catch (const v4rt::Error& e) {
          const nb::object made = nb::handle(static_cast<PyObject*>(type))(e.what());
          made.attr("status") = v4rt_status_name(e.status());
          PyErr_SetObject(static_cast<PyObject*>(type), made.ptr());
        }
      },
      error.ptr());

  const nb::call_guard<nb::gil_scoped_release> released;
  m.def("version", &v4rt::version);
  m.def("devices_json", &v4rt::devices_json, released);
  m.def("memory_needed", &v4rt::memory_needed, "path"_a, "options"_a, released);

  nb::class_<v4rt::ModelOptions>(m, "ModelOptions")
      .def(nb::init<>())
      .def_rw("device", &v4rt::ModelOptions::device)
      .def_rw("place", &v4rt::ModelOptions::place)
      .def_rw("memory", &v4rt::ModelOptions::memory)
      .def_rw("cache_dir", &v4rt::ModelOptions::cache_dir)
      .def_rw("weight_cache", &v4rt::ModelOptions::weight_cache)
      .def_rw("program", &v4rt::ModelOptions::program)
      .def_rw("context", &v4rt::ModelOptions::context)
      .def_rw("reserve", &v4rt::ModelOptions::reserve)
      .def_rw("chunk", &v4rt::ModelOptions::chunk)
      .def_rw("threads", &v4rt::ModelOptions::threads)
      .def_rw("slots", &v4rt::ModelOptions::slots)
      .def_rw("rewind", &v4rt::ModelOptions::rewind)
      .def_rw("draft", &v4rt::ModelOptions::draft)
      .def_rw("mtp", &v4rt::ModelOptions::mtp)
      .def_rw("no_mmap", &v4rt::ModelOptions::no_mmap)
      .def("numbers", [](v4rt::ModelOptions& self, int numbers) { self.numbers = static_cast<v4rt_numbers>(numbers); })
      .def("fast", [](v4rt::ModelOptions& self, int fast) { self.fast = static_cast<v4rt_fast>(fast); })
      .def("thread_sharing",
           [](v4rt::ModelOptions& self, int how) { self.thread_sharing = static_cast<v4rt_thread_sharing>(how); })
      .def("on_progress", &on_progress, "progress"_a.none());

  nb::class_<v4rt_model_info>(m, "ModelInfo")
      .def_ro("vocab_size", &v4rt_model_info::vocab_size)
      .def_ro("context", &v4rt_model_info::context)
      .def_ro("layers", &v4rt_model_info::layers)
      .def_ro("bos_token", &v4rt_model_info::bos_token)
      .def_prop_ro("has_mtp", [](const v4rt_model_info& info) { return info.has_mtp != 0; })
      .def_ro("weight_bytes", &v4rt_model_info::weight_bytes)
      .def_ro("state_bytes", &v4rt_model_info::state_bytes)
      .def_ro("arena_bytes", &v4rt_model_info::arena_bytes)
      .def_ro("chunk", &v4rt_model_info::chunk);

  nb::class_<v4rt::Model>(m, "Model")
      .def_static("open", nb::overload_cast<const std::string&, const v4rt::ModelOptions&>(&v4rt::Model::open),
                  "path"_a, "options"_a, released)
      .def_static("open_files", &open_files, "files"_a, "options"_a)
      .def("info", &v4rt::Model::info)
      .def("end_tokens",
           [](const v4rt::Model& self) {
             const auto ids = self.end_tokens();
             return std::vector<int32_t>(ids.begin(), ids.end());
           })
      .def("explain", &v4rt::Model::explain, "tokens"_a, "position"_a, released);

  nb::class_<v4rt::SamplerOptions>(m, "SamplerOptions")
      .def(
          "__init__",
          [](v4rt::SamplerOptions* self, float temperature, float top_p, uint64_t seed, int32_t top_k, float min_p,
             float repetition_penalty, float presence_penalty, float frequency_penalty, const Logprobs& logit_bias,
             std::optional<int32_t> logprobs, std::optional<FilterFunction> filter) {
            std::vector<v4rt_logit_bias> bias;
            for (const auto& [id, value] : logit_bias) bias.push_back({id, value});
            new (self) v4rt::SamplerOptions{temperature,
                                            top_p,
                                            seed,
                                            top_k,
                                            min_p,
                                            repetition_penalty,
                                            presence_penalty,
                                            frequency_penalty,
                                            std::move(bias),
                                            logprobs,
                                            token_filter(std::move(filter))};
          },
          "temperature"_a, "top_p"_a, "seed"_a, "top_k"_a, "min_p"_a, "repetition_penalty"_a, "presence_penalty"_a,
          "frequency_penalty"_a, "logit_bias"_a, "logprobs"_a.none(), "filter"_a.none());

  nb::class_<v4rt::Sampler>(m, "Sampler")
      .def(nb::init<const v4rt::Model&, const v4rt::SamplerOptions&>(), "model"_a, "options"_a)
      .def(
          "begin", [](v4rt::Sampler& self, const Ids& ids) { self.begin(span(ids)); }, "ids"_a)
      .def("forget", &v4rt::Sampler::forget)
      .def("logprobs", [](const v4rt::Sampler& self) { return pairs(self.logprobs()); })
      .def(
          "sample", [](v4rt::Sampler& self, const Logits& logits) { return self.sample(span(logits)); }, "logits"_a);

  nb::class_<v4rt::Reply>(m, "Reply")
      .def(nb::init<const v4rt::Tokenizer&, bool, bool>(), "tokenizer"_a, "thinking"_a, "calls"_a)
      .def(
          "push",
          [](v4rt::Reply& self, int32_t token) {
            Pieces pieces;
            self.push(token, [&](v4rt_piece_kind kind, std::string_view text) { pieces.emplace_back(kind, text); });
            return pieces;
          },
          "token"_a)
      .def("end", [](v4rt::Reply& self) {
        Pieces pieces;
        self.end([&](v4rt_piece_kind kind, std::string_view text) { pieces.emplace_back(kind, text); });
        return pieces;
      });

  nb::class_<v4rt::Snapshot>(m, "Snapshot")
      .def(
          "__init__",
          [](v4rt::Snapshot* self, const nb::bytes& bytes) {
            new (self) v4rt::Snapshot(v4rt::Snapshot::of({static_cast<const std::byte*>(bytes.data()), bytes.size()}));
          },
          "bytes"_a)
      .def("__bytes__", [](const v4rt::Snapshot& self) { return nb::bytes(self.bytes().data(), self.bytes().size()); })
      .def("__reduce__", [](nb::handle self) {
        return nb::make_tuple(self.type(), nb::make_tuple(nb::bytes(self.attr("__bytes__")())));
      });

  nb::class_<v4rt::Session>(m, "Session")
      .def(nb::init<const v4rt::Model&>(), "model"_a, released)
      .def(
          "feed",
          [](v4rt::Session& self, const Ids& ids, int slot) {
            std::span<const float> logits;
            {
              const nb::gil_scoped_release free;
              logits = self.feed(span(ids), slot);
            }
            return copied(logits);
          },
          "ids"_a, "slot"_a)
      .def(
          "feed_batch",
          [](v4rt::Session& self, const std::vector<std::pair<int, Ids>>& items) {
            std::vector<v4rt::BatchItem> batch;
            for (const auto& [slot, ids] : items) batch.push_back({slot, span(ids)});
            std::span<const float> logits;
            {
              const nb::gil_scoped_release free;
              logits = self.feed(batch);
            }
            return copied(logits);
          },
          "items"_a)
      .def(
          "score",
          [](v4rt::Session& self, size_t vocab_size, const Ids& ids, int slot) {
            return score(self, vocab_size, ids, slot);
          },
          "vocab_size"_a, "ids"_a, "slot"_a)
      .def(
          "on_progress",
          [](v4rt::Session& self, std::optional<std::function<bool(int64_t, int64_t)>> progress) {
            if (!progress) return self.on_progress({});
            self.on_progress([call = std::move(*progress)](int64_t done, int64_t total) {
              const nb::gil_scoped_acquire held;
              return PyErr_CheckSignals() == 0 ? call(done, total) : throw nb::python_error();
            });
          },
          "progress"_a.none())
      .def(
          "advance",
          [](v4rt::Session& self, v4rt::Sampler* sampler, int32_t id, int slot) {
            return advance(self, sampler, {&id, 1}, slot);
          },
          "sampler"_a.none(), "id"_a, "slot"_a, released)
      .def(
          "advance",
          [](v4rt::Session& self, v4rt::Sampler* sampler, const Ids& ids, int slot) {
            return advance(self, sampler, span(ids), slot);
          },
          "sampler"_a.none(), "ids"_a, "slot"_a, released)
      .def("draft", &v4rt::Session::draft, "next"_a, "n"_a, "slot"_a, released)
      .def("position", &v4rt::Session::position, "slot"_a)
      .def("reset", &v4rt::Session::reset, "slot"_a, released)
      .def("truncate", &v4rt::Session::truncate, "position"_a, "slot"_a, released)
      .def("checkpoint", &v4rt::Session::checkpoint, "slot"_a, released)
      .def("drop_checkpoint", &v4rt::Session::drop_checkpoint, "position"_a, "slot"_a)
      .def("fork", &v4rt::Session::fork, "source"_a, "to"_a, released)
      .def("snapshot", &v4rt::Session::snapshot, "slot"_a, released)
      .def("restore", &v4rt::Session::restore, "snapshot"_a, "slot"_a, released);

  nb::class_<v4rt::Tokenizer>(m, "Tokenizer")
      .def_static("open", &v4rt::Tokenizer::open, "path"_a, released)
      .def_static("parse", &v4rt::Tokenizer::parse, "json"_a, released)
      .def(
          "encode",
          [](const v4rt::Tokenizer& self, std::string_view text, bool special) {
            return copied(std::span<const int32_t>(self.encode(text, special)));
          },
          "text"_a, "special"_a)
      .def(
          "decode", [](const v4rt::Tokenizer& self, const Ids& ids) { return bytes(self.decode(span(ids))); }, "ids"_a)
      .def(
          "token", [](const v4rt::Tokenizer& self, int32_t id) { return bytes(self.token(id)); }, "id"_a);

  m.def("chat_encode", &chat_encode, "tokenizer"_a, "messages"_a, "tools"_a, "thinking"_a, "effort"_a, "revision"_a,
        "keep_reasoning"_a, "bos"_a);
  add_engine(m);
}
