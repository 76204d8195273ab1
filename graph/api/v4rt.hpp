#pragma once

// v4rt for C++20: the handles of v4rt.h as types that close themselves, its errors as one exception, std::span in and
// out. All of it is inline and built on v4rt.h, which has the units, the rules and what each call may refuse.
//
//   v4rt::Model model = v4rt::Model::open("models/v4", {.device = "opencl"});
//   v4rt::Session session(model);
//   std::span<const float> logits = session.feed(ids);
//
// A callback may return void, or a bool that is false to stop; an exception that it throws comes out of the call.
// examples/minimal.cc goes from a path to text. Many requests at once: v4rt_engine.hpp.

#include <v4rt.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <v4rt_support.hpp>
#include <v4rt_text.hpp>
#include <vector>

namespace v4rt {
inline namespace api0 {  // the library has types of the same names inside

inline std::string version() { return v4rt_version(); }

// The devices that there are, and what this build can do, as JSON.
inline std::string devices_json() {
  char* json = nullptr;
  detail::check(v4rt_devices_json(&json));
  return detail::take(json);
}

struct ModelOptions {
  std::string device = "cpu";
  std::vector<std::string> place = {};   // "PATTERN=DEVICE"
  std::vector<std::string> memory = {};  // "DEVICE=BYTES"
  std::string cache_dir = {}, weight_cache = {}, program = {};
  std::function<bool(std::string_view what, double done)> progress = {};
  int64_t context = 4096, reserve = 0;
  int chunk = 0, threads = 0;  // 0: chosen
  int slots = 1, rewind = 8, draft = 0;
  v4rt_numbers numbers = V4RT_FAITHFUL;
  v4rt_fast fast = V4RT_EXACT;
  v4rt_thread_sharing thread_sharing = V4RT_THREADS_FIRST;
  bool mtp = false, no_mmap = false;
  std::pmr::memory_resource* memory_resource = nullptr;  // of the cpu device's buffers; outlives model and sessions
  void *opencl_context = nullptr, *opencl_device = nullptr, *opencl_queue = nullptr;  // of the device "opencl:host"
};

namespace detail {

// ModelOptions for C; `options` must outlive it.
class Options {
 public:
  explicit Options(const ModelOptions& options) : progress_(options.progress) {
    for (const std::string& rule : options.place) place_.push_back(rule.c_str());
    for (const std::string& limit : options.memory) memory_.push_back(limit.c_str());
    c_.struct_size = sizeof(c_);
    c_.device = options.device.c_str();
    c_.place = place_.data();
    c_.n_place = place_.size();
    c_.memory = memory_.data();
    c_.n_memory = memory_.size();
    if (!options.cache_dir.empty()) c_.cache_dir = options.cache_dir.c_str();
    if (!options.weight_cache.empty()) c_.weight_cache = options.weight_cache.c_str();
    if (!options.program.empty()) c_.program = options.program.c_str();
    if (options.progress) {
      c_.progress = [](const char* what, double done, void* user) {
        return static_cast<Options*>(user)->progress_.call(what, done);
      };
      c_.progress_user = this;
    }
    c_.context = options.context;
    c_.reserve = options.reserve;
    c_.chunk = options.chunk;
    c_.threads = options.threads;
    c_.slots = options.slots;
    c_.rewind = options.rewind == 0 ? -1 : options.rewind;
    c_.draft = options.draft;
    c_.numbers = options.numbers;
    c_.fast = options.fast;
    c_.thread_sharing = options.thread_sharing;
    c_.mtp = options.mtp ? 1 : 0;
    c_.no_mmap = options.no_mmap ? 1 : 0;
    if (options.memory_resource != nullptr) {
      c_.allocate = &allocate;
      c_.release = [](void* memory, size_t bytes, size_t alignment, void* user) {
        static_cast<std::pmr::memory_resource*>(user)->deallocate(memory, bytes, alignment);
      };
      c_.memory_user = options.memory_resource;
    }
    c_.opencl_context = options.opencl_context;
    c_.opencl_device = options.opencl_device;
    c_.opencl_queue = options.opencl_queue;
  }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  const v4rt_model_options* get() const { return &c_; }
  void check(v4rt_status status) { progress_.check(status); }

 private:
  static void* allocate(size_t bytes, size_t alignment, void* user) noexcept {
    try {
      return static_cast<std::pmr::memory_resource*>(user)->allocate(bytes, alignment);
    } catch (...) {
      return nullptr;
    }
  }

  Callback<const std::function<bool(std::string_view, double)>> progress_;
  std::vector<const char*> place_, memory_;
  v4rt_model_options c_{};
};

}  // namespace detail

// A checkpoint's file that is in no folder: `bytes`, which stay as they are until the model and its sessions are gone,
// or what `read` writes to `to`, from `offset`, of `size` bytes in all.
struct File {
  std::string name;
  std::span<const std::byte> bytes = {};
  uint64_t size = 0;
  std::function<void(uint64_t offset, std::span<std::byte> to)> read = {};
};

// What opening a model with these options, and one session, would take of each device, as JSON. Allocates none of it.
inline std::string memory_needed(const std::string& path, const ModelOptions& options = {}) {
  detail::Options given(options);
  char* json = nullptr;
  given.check(v4rt_memory_needed(path.c_str(), given.get(), &json));
  return detail::take(json);
}

// A checkpoint on devices; shared by many sessions and threads.
class Model {
 public:
  static Model open(const std::string& path, const ModelOptions& options = {}) {
    detail::Options given(options);
    v4rt_model* model = nullptr;
    given.check(v4rt_model_open(path.c_str(), given.get(), &model));
    return Model(model);
  }

  static Model open(std::span<const File> files, const ModelOptions& options = {}) {
    using Read = detail::Callback<const std::function<void(uint64_t, std::span<std::byte>)>>;
    std::vector<Read> reads;
    std::vector<v4rt_file> given;
    reads.reserve(files.size());
    for (const File& file : files) {
      v4rt_file& out = given.emplace_back();
      out.struct_size = sizeof(out);
      out.name = file.name.c_str();
      out.size = file.read ? file.size : file.bytes.size();
      out.data = file.read ? nullptr : static_cast<const void*>(file.bytes.data());
      out.read = [](uint64_t offset, void* to, size_t n, void* user) {
        return static_cast<Read*>(user)->call(offset, std::span(static_cast<std::byte*>(to), n));
      };
      out.user = &reads.emplace_back(file.read);
    }
    detail::Options all(options);
    v4rt_model* model = nullptr;
    const v4rt_status status = v4rt_model_open_files(given.data(), given.size(), all.get(), &model);
    for (Read& read : reads) read.rethrow();
    all.check(status);
    return Model(model);
  }

  v4rt_model_info info() const {
    v4rt_model_info info{};
    info.struct_size = sizeof(info);
    detail::check(v4rt_model_get_info(get(), &info));
    return info;
  }

  std::span<const int32_t> end_tokens() const {  // valid as long as the model
    const int32_t* ids = nullptr;
    size_t n = 0;
    detail::check(v4rt_model_end_tokens(get(), &ids, &n));
    return {ids, n};
  }

  std::string explain(int tokens = 1, int64_t position = 0) const {  // as JSON
    char* json = nullptr;
    detail::check(v4rt_model_explain(get(), tokens, position, &json));
    return detail::take(json);
  }

  v4rt_model* get() const { return handle_.get(); }

 private:
  explicit Model(v4rt_model* handle) : handle_(handle) {}
  detail::Handle<v4rt_model, v4rt_model_close> handle_;
};

// The state of a sequence outside any session.
class Snapshot {
 public:
  static Snapshot of(std::span<const std::byte> bytes) {  // that were a snapshot's
    v4rt_snapshot* snapshot = nullptr;
    detail::check(v4rt_snapshot_open_bytes(bytes.data(), bytes.size(), &snapshot));
    return Snapshot(snapshot);
  }
  std::span<const std::byte> bytes() const {  // valid as long as the snapshot
    const void* bytes = nullptr;
    size_t n = 0;
    detail::check(v4rt_snapshot_bytes(get(), &bytes, &n));
    return {static_cast<const std::byte*>(bytes), n};
  }
  explicit Snapshot(v4rt_snapshot* handle) : handle_(handle) {}
  v4rt_snapshot* get() const { return handle_.get(); }

 private:
  detail::Handle<v4rt_snapshot, v4rt_snapshot_close> handle_;
};

struct BatchItem {
  int slot;
  std::span<const int32_t> tokens;
  void* opencl_tokens = nullptr;  // in place of `tokens`: n_opencl ids in a cl_mem (v4rt_batch_item)
  uint64_t opencl_offset = 0;
  size_t n_opencl = 0;
};

// The running state of the model's number of sequences; keeps what it needs of the model. Used from one thread at a
// time.
class Session {
 public:
  explicit Session(const Model& model) : vocab_size_(static_cast<size_t>(model.info().vocab_size)) {
    v4rt_session* session = nullptr;
    detail::check(v4rt_session_open(model.get(), &session));
    handle_.reset(session);
  }

  // Appends tokens; the logits [vocab_size] after the last one, valid until the next call.
  std::span<const float> feed(std::span<const int32_t> tokens, int slot = 0) {
    const float* logits = nullptr;
    check(v4rt_session_feed(get(), slot, tokens.data(), tokens.size(), &logits));
    return {logits, vocab_size_};
  }

  // One step of several sequences; the logits [items, vocab_size] after the last token of each.
  std::span<const float> feed(std::span<const BatchItem> items) {
    const std::vector<v4rt_batch_item> batch = for_c(items);
    const float* logits = nullptr;
    check(v4rt_session_feed_batch(get(), batch.data(), batch.size(), &logits));
    return {logits, items.size() * vocab_size_};
  }

  // As feed, with the logits after every token: row(i, logits, mtp_logits), of which the last may be empty.
  template <class F>
  void score(std::span<const int32_t> tokens, F&& row, int slot = 0) {
    auto spans = [&](int64_t i, const float* logits, const float* mtp) {
      return row(i, std::span(logits, vocab_size_), std::span(mtp, mtp == nullptr ? 0 : vocab_size_));
    };
    detail::Callback<decltype(spans)> callback(spans);
    callback.check(v4rt_session_score(
        get(), slot, tokens.data(), tokens.size(),
        [](int64_t i, const float* logits, const float* mtp, void* user) {
          return static_cast<decltype(callback)*>(user)->call(i, logits, mtp);
        },
        &callback));
  }

  // The same, with the logits left on the OpenCL device: v4rt_session_feed_opencl.
  struct OpenclLogits {
    void* memory = nullptr;
    uint64_t offset = 0;
  };
  OpenclLogits feed_opencl(std::span<const int32_t> tokens, int slot = 0) {
    OpenclLogits logits;
    check(v4rt_session_feed_opencl(get(), slot, tokens.data(), tokens.size(), &logits.memory, &logits.offset));
    return logits;
  }
  OpenclLogits feed_opencl(std::span<const BatchItem> items) {
    const std::vector<v4rt_batch_item> batch = for_c(items);
    OpenclLogits logits;
    check(v4rt_session_feed_batch_opencl(get(), batch.data(), batch.size(), &logits.memory, &logits.offset));
    return logits;
  }

  // Guesses the n tokens after `next`, which has not been fed; -1 where there is nothing to go by.
  std::vector<int32_t> draft(int32_t next, int n, int slot = 0) {
    std::vector<int32_t> ids(static_cast<size_t>(n > 0 ? n : 0));
    detail::check(v4rt_session_draft(get(), slot, next, n, ids.data()));
    return ids;
  }

  // Called after chunks and layers; when `progress` stops it, feed() throws V4RT_CANCELLED, and whole chunks stay.
  void on_progress(std::function<bool(int64_t done, int64_t total)> progress) {
    auto made = progress ? std::make_unique<Progress>(std::move(progress)) : nullptr;
    const auto call = [](int64_t done, int64_t total, void* user) {
      return static_cast<Progress*>(user)->callback.call(done, total);
    };
    detail::check(v4rt_session_on_progress(get(), made ? +call : nullptr, made.get()));
    progress_ = std::move(made);
  }

  int64_t position(int slot = 0) const {
    int64_t position = 0;
    detail::check(v4rt_session_position(get(), slot, &position));
    return position;
  }
  void reset(int slot = 0) { detail::check(v4rt_session_reset(get(), slot)); }
  void truncate(int64_t position, int slot = 0) { detail::check(v4rt_session_truncate(get(), slot, position)); }
  void checkpoint(int slot = 0) { detail::check(v4rt_session_checkpoint(get(), slot)); }
  void drop_checkpoint(int64_t position, int slot = 0) {
    detail::check(v4rt_session_drop_checkpoint(get(), slot, position));
  }
  void fork(int from, int to) { detail::check(v4rt_session_fork(get(), from, to)); }

  Snapshot snapshot(int slot = 0) const {
    v4rt_snapshot* snapshot = nullptr;
    detail::check(v4rt_snapshot_open(get(), slot, &snapshot));
    return Snapshot(snapshot);
  }
  void restore(const Snapshot& snapshot, int slot = 0) {
    detail::check(v4rt_session_restore(get(), slot, snapshot.get()));
  }

  v4rt_session* get() const { return handle_.get(); }
  void check(v4rt_status status) {  // of a call that may have called on_progress's function
    if (progress_) progress_->callback.rethrow();
    detail::check(status);
  }

 private:
  struct Progress {
    explicit Progress(std::function<bool(int64_t, int64_t)> f) : function(std::move(f)), callback(function) {}
    std::function<bool(int64_t, int64_t)> function;
    detail::Callback<std::function<bool(int64_t, int64_t)>> callback;
  };

  static std::vector<v4rt_batch_item> for_c(std::span<const BatchItem> items) {
    std::vector<v4rt_batch_item> batch;
    for (const BatchItem& i : items) {
      const bool opencl = i.opencl_tokens != nullptr;
      batch.push_back({sizeof(v4rt_batch_item), opencl ? nullptr : i.tokens.data(),
                       opencl ? i.n_opencl : i.tokens.size(), i.slot, 0, i.opencl_tokens, i.opencl_offset});
    }
    return batch;
  }

  size_t vocab_size_;
  std::unique_ptr<Progress> progress_;
  detail::Handle<v4rt_session, v4rt_session_close> handle_;
};

struct SamplerOptions {   // their order and meaning: v4rt_sampler_options
  float temperature = 0;  // 0: always the largest logit
  float top_p = 1;
  uint64_t seed = 0;
  int32_t top_k = 0;
  float min_p = 0, repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  std::vector<v4rt_logit_bias> logit_bias = {};
  std::optional<int32_t> logprobs = {};  // of the chosen token and of so many likeliest
  // Clears the bits of what may not come after `chosen`; what it throws comes out of the call, or of Answer::next.
  std::function<void(std::span<const int32_t> chosen, std::span<uint64_t> allowed)> filter = {};
};

namespace detail {

struct Filter {
  explicit Filter(decltype(SamplerOptions::filter) f) : function(std::move(f)) {}
  decltype(SamplerOptions::filter) function;
  Callback<decltype(function)> callback{function};
};

// Made of `options` and `filter`, which must outlive it.
inline v4rt_sampler_options for_c(const SamplerOptions& options, Filter& filter) {
  v4rt_sampler_options c{};
  c.struct_size = sizeof(c);
  c.temperature = options.temperature;
  c.top_p = options.top_p;
  c.seed = options.seed;
  c.top_k = options.top_k;
  c.min_p = options.min_p;
  c.repetition_penalty = options.repetition_penalty;
  c.presence_penalty = options.presence_penalty;
  c.frequency_penalty = options.frequency_penalty;
  c.logprobs = options.logprobs ? 1 : 0;
  c.top_logprobs = options.logprobs.value_or(0);
  c.logit_bias = options.logit_bias.data();
  c.n_logit_bias = options.logit_bias.size();
  if (!filter.function) return c;
  c.filter = [](const int32_t* chosen, size_t n_chosen, uint64_t* allowed, size_t n_words, void* user) {
    return static_cast<Filter*>(user)->callback.call(std::span(chosen, n_chosen), std::span(allowed, n_words));
  };
  c.filter_user = &filter;
  return c;
}

}  // namespace detail

class Sampler {
 public:
  explicit Sampler(const Model& model, const SamplerOptions& options = {})
      : filter_(std::make_unique<detail::Filter>(options.filter)) {
    const v4rt_sampler_options c = detail::for_c(options, *filter_);
    v4rt_sampler* sampler = nullptr;
    detail::check(v4rt_sampler_open(model.get(), &c, &sampler));
    handle_.reset(sampler);
  }

  int32_t sample(std::span<const float> logits) {
    int32_t id = 0;
    check(v4rt_sampler_sample(get(), logits.data(), logits.size(), &id));
    return id;
  }
  // A text begins with these tokens, or goes on: for the penalties. generate() does it.
  void begin(std::span<const int32_t> tokens) {
    detail::check(v4rt_sampler_begin(get(), tokens.data(), tokens.size()));
  }
  void forget() { detail::check(v4rt_sampler_forget(get())); }
  // Of the token chosen last: it, then the likeliest; valid until the next call.
  std::span<const v4rt_token_logprob> logprobs() const {
    const v4rt_token_logprob* all = nullptr;
    size_t n = 0;
    detail::check(v4rt_sampler_logprobs(get(), &all, &n));
    return {all, n};
  }

  v4rt_sampler* get() const { return handle_.get(); }
  void check(v4rt_status status) { filter_->callback.check(status); }  // of a call that samples

 private:
  std::unique_ptr<detail::Filter> filter_;
  detail::Handle<v4rt_sampler, v4rt_sampler_close> handle_;
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  bool ignore_end_token = false;
  int draft = 0, slot = 0;
};

// Feeds `prompt`, then samples until an end token, max_tokens, the end of the context, or until on_token(id) stops it.
template <class F>
v4rt_generate_result generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
                              Sampler& sampler, F&& on_token) {
  v4rt_generate_options c{};
  c.struct_size = sizeof(c);
  c.max_tokens = options.max_tokens;
  c.ignore_end_token = options.ignore_end_token ? 1 : 0;
  c.draft = options.draft;
  c.slot = options.slot;
  v4rt_generate_result result{};
  result.struct_size = sizeof(result);
  detail::Callback<std::remove_reference_t<F>> callback(on_token);
  const v4rt_status status = v4rt_generate(
      session.get(), prompt.data(), prompt.size(), &c, sampler.get(),
      [](int32_t id, void* user) { return static_cast<decltype(callback)*>(user)->call(id); }, &callback, &result);
  callback.rethrow();
  if (status != V4RT_OK) sampler.check(V4RT_OK);
  session.check(status);
  return result;
}

}  // namespace api0
}  // namespace v4rt
