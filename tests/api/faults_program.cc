#include "tests/api/faults_program.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/api/faults.h"
#ifdef V4RT_HAVE_OPENCL
#include "tests/api/faults_host.h"
#endif

namespace faults {
namespace {

constexpr int32_t kPrompt[] = {0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17};
constexpr size_t kPromptLength = std::size(kPrompt);
constexpr char kText[] = "The capital of";
constexpr char kTools[] =
    R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}])";
constexpr char kToolCalls[] = R"([{"id": "1", "function": {"name": "f", "arguments": {"a": [1, {"b": 2.5}]}}}])";
constexpr char kAnswer[] =
    "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"false\">[1]"
    "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

template <class T>
T sized() {
  T structure{};
  structure.struct_size = sizeof(T);
  return structure;
}

int keep(int32_t id, void* outcome) {
  static_cast<Outcome*>(outcome)->add(id);
  return 1;
}

int keep_piece(int32_t kind, const char*, size_t n, void* outcome) {
  static_cast<Outcome*>(outcome)->add(kind);
  static_cast<Outcome*>(outcome)->add(static_cast<int64_t>(n));
  return 1;
}

class Program {
 public:
  Program(const char* path, const char* device, bool again) : path_(path), device_(device), again_(again) {}

  Outcome run() {
    out_.complete = describe_devices() && open() && encode() && chat() && generate() && forks() && serve();
    v4rt_engine_close(engine_);
    v4rt_sampler_close(sampler_);
    v4rt_snapshot_close(snapshot_);
    v4rt_session_close(session_);
    v4rt_tokenizer_close(tokenizer_);
    v4rt_model_close(model_);
    return out_;
  }

 private:
  // Makes a call; what it added to the results before it failed is forgotten.
  template <class F>
  bool call(F&& f) {
    const size_t before = out_.count;
    v4rt_status status = f();
    if (status != V4RT_OK && out_.status == V4RT_OK) {
      out_.status = status;
      std::snprintf(out_.message, sizeof(out_.message), "%s", v4rt_last_error());
    }
    if (status == V4RT_OK || !again_) return status == V4RT_OK;
    out_.count = before;
    status = f();
    if (status != V4RT_OK) std::printf("again: %s: %s\n", v4rt_status_name(status), v4rt_last_error());
    return status == V4RT_OK;
  }

  template <class F>
  bool text(F&& f) {
    return call([&] {
      char* json = nullptr;
      const v4rt_status status = f(&json);
      v4rt_free(json);
      return status;
    });
  }

  bool describe_devices() {
    return call([] { return v4rt_devices([](const v4rt_device_info*, void*) { return 1; }, nullptr); }) &&
           text([](char** json) { return v4rt_devices_json(json); });
  }

  bool open() {
    auto options = sized<v4rt_model_options>();
    options.device = device_;
    options.cache_dir = std::getenv("V4RT_TEST_CACHE");
    options.context = 64;
    options.chunk = 4;
    options.slots = 2;
    options.threads = 3;
    options.no_mmap = 1;
#ifdef V4RT_HAVE_OPENCL
    if (on_host()) host_.lend(options);
#endif
    return text([&](char** json) { return v4rt_memory_needed(path_, &options, json); }) &&
           call([&] { return v4rt_model_open(path_, &options, &model_); }) &&
           text([&](char** json) { return v4rt_model_explain(model_, 1, 8, json); });
  }

  bool encode() {
    return call([&] { return v4rt_tokenizer_open(path_, &tokenizer_); }) && call([&] {
             return v4rt_tokenizer_encode(tokenizer_, kText, sizeof(kText) - 1, 0, ids_, std::size(ids_), &n_ids_);
           });
  }

  bool chat() {
    auto options = sized<v4rt_chat_options>();
    options.tools = kTools;
    options.n_tools = sizeof(kTools) - 1;
    v4rt_message messages[] = {sized<v4rt_message>(), sized<v4rt_message>(), sized<v4rt_message>()};
    const char* const roles[] = {"user", "assistant", "tool"};
    for (size_t i = 0; i < std::size(messages); ++i) {
      messages[i].role = roles[i];
      messages[i].content = kText;
      messages[i].n_content = sizeof(kText) - 1;
    }
    messages[1].tool_calls = kToolCalls;
    messages[1].n_tool_calls = sizeof(kToolCalls) - 1;
    return text([&](char** to) { return v4rt_chat_render(messages, std::size(messages), &options, to); }) && call([&] {
             size_t n = 0;
             const v4rt_status status =
                 v4rt_chat_encode(tokenizer_, messages, std::size(messages), &options, nullptr, 0, &n);
             out_.add(static_cast<int64_t>(n));
             return status;
           }) &&
           call([&] { return read_reply(); });
  }

  v4rt_status read_reply() {
    int32_t ids[256];
    size_t n = 0;
    auto options = sized<v4rt_reply_options>();
    options.calls = 1;
    v4rt_reply* reply = nullptr;
    v4rt_status status = v4rt_tokenizer_encode(tokenizer_, kAnswer, sizeof(kAnswer) - 1, 1, ids, std::size(ids), &n);
    if (status == V4RT_OK) status = v4rt_reply_open(tokenizer_, &options, &reply);
    for (size_t i = 0; i < n && status == V4RT_OK; ++i) status = v4rt_reply_push(reply, ids[i], keep_piece, &out_);
    if (status == V4RT_OK) status = v4rt_reply_end(reply, keep_piece, &out_);
    v4rt_reply_close(reply);
    return status;
  }

  v4rt_status write(const int32_t* prompt, size_t n) {
    auto few = sized<v4rt_generate_options>();
    few.max_tokens = 6;
    return v4rt_generate(session_, prompt, n, &few, sampler_, keep, &out_, nullptr);
  }

  bool generate() {
    const auto from_start = [&] {
      const v4rt_status status = v4rt_session_reset(session_, 0);
      return status == V4RT_OK ? write(kPrompt, kPromptLength) : status;
    };
    const auto restored = [&] {
      const v4rt_status status = v4rt_session_restore(session_, 0, snapshot_);
      return status == V4RT_OK ? write(ids_, n_ids_) : status;
    };
    return call([&] { return v4rt_session_open(model_, &session_); }) &&
           call([&] { return v4rt_sampler_open(model_, nullptr, &sampler_); }) && call(from_start) &&
           call([&] { return v4rt_snapshot_open(session_, 0, &snapshot_); }) && call(restored);
  }

  // Two sequences of one session, which begin alike; on the host's device with tokens and logits of its memory.
  bool forks() {
    return call([&] {
      v4rt_status status = v4rt_session_reset(session_, 0);
      if (status == V4RT_OK) status = v4rt_session_feed(session_, 0, kPrompt, kPromptLength, nullptr);
      if (status == V4RT_OK) status = v4rt_session_checkpoint(session_, 0);
      if (status == V4RT_OK) status = v4rt_session_fork(session_, 0, 1);
      if (status == V4RT_OK) status = feed_both();
      if (status == V4RT_OK) status = v4rt_session_truncate(session_, 0, kPromptLength);
      return status;
    });
  }

  v4rt_status feed_both() {
    v4rt_batch_item items[] = {sized<v4rt_batch_item>(), sized<v4rt_batch_item>()};
    for (int32_t slot = 0; slot < 2; ++slot) {
      items[slot].tokens = kPrompt + 1 + slot;
      items[slot].n_tokens = 2;
      items[slot].slot = slot;
    }
    const auto add_likeliest = [&](const float* logits) {
      for (size_t row = 0; row < 2; ++row, logits += kVocabulary)
        out_.add(std::max_element(logits, logits + kVocabulary) - logits);
    };
#ifdef V4RT_HAVE_OPENCL
    if (on_host()) return host_.feed(session_, items, std::size(items), kVocabulary, add_likeliest);
#endif
    const float* logits = nullptr;
    const v4rt_status status = v4rt_session_feed_batch(session_, items, std::size(items), &logits);
    if (status == V4RT_OK) add_likeliest(logits);
    return status;
  }

  bool serve() {
    return call([&] { return v4rt_engine_open(model_, nullptr, &engine_); }) && call([&] { return answer(); });
  }

  v4rt_status answer() {
    auto request = sized<v4rt_request>();
    request.prompt = kPrompt;
    request.n_prompt = kPromptLength;
    request.tokenizer = tokenizer_;
    request.max_tokens = 3;
    auto event = sized<v4rt_event>();
    v4rt_answer* answer = nullptr;
    v4rt_status status = v4rt_answer_open(engine_, &request, &answer);
    while (status == V4RT_OK && event.kind != V4RT_EVENT_END) {
      status = v4rt_answer_next(answer, -1.0, &event);
      if (status == V4RT_OK && event.kind == V4RT_EVENT_TOKEN) out_.add(event.token);
    }
    v4rt_answer_close(answer);
    return status;
  }

  static constexpr size_t kVocabulary = 2048;

  const char* const path_;
  const char* const device_;
  const bool again_;
  Outcome out_;
  int32_t ids_[16];
  size_t n_ids_ = 0;
  v4rt_model* model_ = nullptr;
  v4rt_tokenizer* tokenizer_ = nullptr;
  v4rt_session* session_ = nullptr;
  v4rt_snapshot* snapshot_ = nullptr;
  v4rt_sampler* sampler_ = nullptr;
  v4rt_engine* engine_ = nullptr;
#ifdef V4RT_HAVE_OPENCL
  bool on_host() const { return std::strcmp(device_, "opencl:host") == 0; }
  HostOpencl host_;
#endif
};

}  // namespace

Outcome run_program(const char* model_path, const char* device, bool again) {
  return Program(model_path, device, again).run();
}

}  // namespace faults
