// The module v4rt._native: what python/v4rt/__init__.py needs of v4rt.hpp. Arrays come in as any object that DLPack or
// the buffer protocol can hand over without a copy, and go out as NumPy arrays of their own.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <v4rt.hpp>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T>
std::span<const T> span(const nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>& array) {
  return {array.data(), array.size()};
}

template <class T>
auto owned_array(std::unique_ptr<T[]> values, std::initializer_list<size_t> shape) {
  T* data = values.get();
  nb::capsule owner(values.release(), [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.begin(), owner);
}

template <class T>
auto copied(std::span<const T> values) {
  auto copy = std::make_unique_for_overwrite<T[]>(values.size());
  std::copy(values.begin(), values.end(), copy.get());
  return owned_array(std::move(copy), {values.size()});
}

nb::bytes bytes(std::string_view text) { return nb::bytes(text.data(), text.size()); }

// Whether Python's callback says stop; KeyboardInterrupt and its like come out as they are.
using OpenProgress = std::optional<std::function<bool(std::string_view, double)>>;

v4rt::ModelOptions model_options(std::string device, std::vector<std::string> place, std::vector<std::string> memory,
                                 std::string cache_dir, std::string weight_cache, int64_t context, int chunk,
                                 int threads, bool plain, int fast, bool mtp, bool mmap, OpenProgress progress) {
  v4rt::ModelOptions o{std::move(device), std::move(place), std::move(memory), std::move(cache_dir),
                       std::move(weight_cache)};
  if (progress) {
    o.progress = [call = std::move(*progress)](std::string_view what, double done) {
      const nb::gil_scoped_acquire held;
      return PyErr_CheckSignals() == 0 ? call(what, done) : throw nb::python_error();
    };
  }
  o.context = context;
  o.chunk = chunk;
  o.threads = threads;
  o.numbers = plain ? V4RT_PLAIN : V4RT_FAITHFUL;
  o.fast = static_cast<v4rt_fast>(fast);
  o.mtp = mtp;
  o.no_mmap = !mmap;
  return o;
}

// Logits of every token: rows of the matrices are filled as they come.
auto score(v4rt::Session& session, size_t vocab_size, const Ids& ids) {
  const size_t n = ids.size();
  auto logits = std::make_unique_for_overwrite<float[]>(n * vocab_size);
  std::unique_ptr<float[]> mtp;
  {
    const nb::gil_scoped_release released;
    session.score(span(ids), [&](int64_t i, std::span<const float> row, std::span<const float> further) {
      const size_t at = static_cast<size_t>(i) * vocab_size;
      std::copy(row.begin(), row.end(), logits.get() + at);
      if (further.empty()) return;
      if (mtp == nullptr) mtp = std::make_unique_for_overwrite<float[]>((n - 1) * vocab_size);
      std::copy(further.begin(), further.end(), mtp.get() + at);
    });
  }
  const nb::object second = mtp == nullptr ? nb::none() : nb::cast(owned_array(std::move(mtp), {n - 1, vocab_size}));
  return nb::make_tuple(owned_array(std::move(logits), {n, vocab_size}), second);
}

}  // namespace

NB_MODULE(_native, m) {
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
      .def(
          "__init__",
          [](v4rt::ModelOptions* self, std::string device, std::vector<std::string> place,
             std::vector<std::string> memory, std::string cache_dir, std::string weight_cache, int64_t context,
             int chunk, int threads, bool plain, int fast, bool mtp, bool mmap, OpenProgress progress) {
            new (self) v4rt::ModelOptions(model_options(std::move(device), std::move(place), std::move(memory),
                                                        std::move(cache_dir), std::move(weight_cache), context, chunk,
                                                        threads, plain, fast, mtp, mmap, std::move(progress)));
          },
          "device"_a, "place"_a, "memory"_a, "cache_dir"_a, "weight_cache"_a, "context"_a, "chunk"_a, "threads"_a,
          "plain"_a, "fast"_a, "mtp"_a, "mmap"_a, "progress"_a.none());

  nb::class_<v4rt_model_info>(m, "ModelInfo")
      .def_ro("vocab_size", &v4rt_model_info::vocab_size)
      .def_ro("context", &v4rt_model_info::context)
      .def_ro("layers", &v4rt_model_info::layers)
      .def_ro("bos_token", &v4rt_model_info::bos_token)
      .def_prop_ro("has_mtp", [](const v4rt_model_info& info) { return info.has_mtp != 0; })
      .def_ro("weight_bytes", &v4rt_model_info::weight_bytes)
      .def_ro("state_bytes", &v4rt_model_info::state_bytes)
      .def_ro("arena_bytes", &v4rt_model_info::arena_bytes);

  nb::class_<v4rt::Model>(m, "Model")
      .def_static("open", &v4rt::Model::open, "path"_a, "options"_a, released)
      .def("info", &v4rt::Model::info)
      .def("end_tokens",
           [](const v4rt::Model& self) {
             const auto ids = self.end_tokens();
             return std::vector<int32_t>(ids.begin(), ids.end());
           })
      .def("explain", &v4rt::Model::explain, "tokens"_a, "position"_a, released);

  nb::class_<v4rt::Snapshot>(m, "Snapshot");

  nb::class_<v4rt::Session>(m, "Session")
      .def(nb::init<const v4rt::Model&>(), "model"_a, released)
      .def(
          "feed",
          [](v4rt::Session& self, const Ids& ids) {
            std::span<const float> logits;
            {
              const nb::gil_scoped_release free;
              logits = self.feed(span(ids));
            }
            return copied(logits);
          },
          "ids"_a)
      .def(
          "score", [](v4rt::Session& self, size_t vocab_size, const Ids& ids) { return score(self, vocab_size, ids); },
          "vocab_size"_a, "ids"_a)
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
      .def("position", &v4rt::Session::position)
      .def("reset", &v4rt::Session::reset, released)
      .def("snapshot", &v4rt::Session::snapshot, released)
      .def("restore", &v4rt::Session::restore, "snapshot"_a, released);

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

  nb::class_<v4rt::Sampler>(m, "Sampler")
      .def(
          "__init__",
          [](v4rt::Sampler* self, const v4rt::Model& model, float temperature, float top_p, uint64_t seed) {
            new (self) v4rt::Sampler(model, {temperature, top_p, seed});
          },
          "model"_a, "temperature"_a, "top_p"_a, "seed"_a)
      .def(
          "sample", [](v4rt::Sampler& self, const Logits& logits) { return self.sample(span(logits)); }, "logits"_a);
}
