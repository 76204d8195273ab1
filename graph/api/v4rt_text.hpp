#pragma once

// Part of v4rt.hpp: text. Tokens, conversations, and answers taken apart.

#include <v4rt.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <v4rt_support.hpp>
#include <vector>

namespace v4rt {
inline namespace api0 {  // the library has types of the same names inside

class Tokenizer {
 public:
  static Tokenizer open(const std::string& path) {
    v4rt_tokenizer* tokenizer = nullptr;
    detail::check(v4rt_tokenizer_open(path.c_str(), &tokenizer));
    return Tokenizer(tokenizer);
  }
  static Tokenizer parse(std::string_view json) {
    v4rt_tokenizer* tokenizer = nullptr;
    detail::check(v4rt_tokenizer_open_memory(json.data(), json.size(), &tokenizer));
    return Tokenizer(tokenizer);
  }

  // With `special`, control tokens written in the text become their ids: not for text from others.
  std::vector<int32_t> encode(std::string_view text, bool special = false) const {
    std::vector<int32_t> ids(text.size());  // a token has one byte at least
    size_t n = 0;
    detail::check(v4rt_tokenizer_encode(get(), text.data(), text.size(), special ? 1 : 0, ids.data(), ids.size(), &n));
    ids.resize(n);
    return ids;
  }

  std::string decode(std::span<const int32_t> ids) const {
    size_t n = 0;
    detail::check(v4rt_tokenizer_decode(get(), ids.data(), ids.size(), nullptr, 0, &n));
    std::string text(n, '\0');
    detail::check(v4rt_tokenizer_decode(get(), ids.data(), ids.size(), text.data(), n, &n));
    return text;
  }

  std::string_view token(int32_t id) const {  // its bytes, valid as long as the tokenizer
    const char* bytes = nullptr;
    size_t n = 0;
    detail::check(v4rt_tokenizer_token(get(), id, &bytes, &n));
    return {bytes, n};
  }

  v4rt_tokenizer* get() const { return handle_.get(); }

 private:
  explicit Tokenizer(v4rt_tokenizer* handle) : handle_(handle) {}
  detail::Handle<v4rt_tokenizer, v4rt_tokenizer_close> handle_;
};

struct Message {
  std::string role;  // "system", "user", "assistant", "tool", "developer", "latest_reminder"
  std::string content;
  std::string reasoning = {}, tool_calls = {};  // an assistant's; calls as a list in JSON, as OpenAI's API writes it
  std::string tool_call_id = {};                // a tool's
};

struct ChatOptions {
  bool thinking = false;
  v4rt_effort effort = V4RT_EFFORT_DEFAULT;
  v4rt_chat_revision revision = V4RT_CHAT_PREVIEW;
  bool keep_reasoning = false, bos = true, allow_closed = false;
  std::string tools = {};  // a list in JSON, as OpenAI's API writes it
};

namespace detail {

class Conversation {  // for C; what it is made of must outlive it
 public:
  Conversation(std::span<const Message> messages, const ChatOptions& options) {
    for (const Message& m : messages)
      messages_.push_back({sizeof(v4rt_message), m.role.c_str(), m.content.data(), m.content.size(), m.reasoning.data(),
                           m.reasoning.size(), m.tool_calls.data(), m.tool_calls.size(), m.tool_call_id.c_str()});
    options_ = {sizeof(options_),     options.thinking,       options.effort,
                options.revision,     options.keep_reasoning, !options.bos,
                options.allow_closed, options.tools.data(),   options.tools.size()};
  }
  const v4rt_message* data() const { return messages_.data(); }
  size_t size() const { return messages_.size(); }
  const v4rt_chat_options* options() const { return &options_; }

 private:
  std::vector<v4rt_message> messages_;
  v4rt_chat_options options_{};
};

}  // namespace detail

// The ids of a conversation, which end where the model is to go on.
inline std::vector<int32_t> chat_encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                                        const ChatOptions& options = {}) {
  const detail::Conversation c(messages, options);
  size_t n = 0;
  detail::check(v4rt_chat_encode(tokenizer.get(), c.data(), c.size(), c.options(), nullptr, 0, &n));
  std::vector<int32_t> ids(n);
  detail::check(v4rt_chat_encode(tokenizer.get(), c.data(), c.size(), c.options(), ids.data(), n, &n));
  return ids;
}

// The same as one text, for people.
inline std::string chat_render(std::span<const Message> messages, const ChatOptions& options = {}) {
  const detail::Conversation c(messages, options);
  char* text = nullptr;
  detail::check(v4rt_chat_render(c.data(), c.size(), c.options(), &text));
  return detail::take(text);
}

// Takes an answer apart as its tokens come: piece(v4rt_piece_kind, std::string_view text), with whole characters.
class Reply {
 public:
  Reply(const Tokenizer& tokenizer, bool thinking, bool calls) {
    const v4rt_reply_options c{sizeof(c), thinking, calls};
    v4rt_reply* reply = nullptr;
    detail::check(v4rt_reply_open(tokenizer.get(), &c, &reply));
    handle_.reset(reply);
  }

  template <class F>
  void push(int32_t token, F&& piece) {
    hand_over(piece, [&](auto call, void* user) { return v4rt_reply_push(handle_.get(), token, call, user); });
  }
  template <class F>
  void end(F&& piece) {
    hand_over(piece, [&](auto call, void* user) { return v4rt_reply_end(handle_.get(), call, user); });
  }

 private:
  template <class F, class Read>
  static void hand_over(F& piece, const Read& read) {
    auto typed = [&](int32_t kind, const char* text, size_t n) {
      return piece(static_cast<v4rt_piece_kind>(kind), std::string_view(text, n));
    };
    detail::Callback<decltype(typed)> callback(typed);
    callback.check(read([](int32_t kind, const char* text, size_t n,
                           void* user) { return static_cast<decltype(callback)*>(user)->call(kind, text, n); },
                        &callback));
  }
  detail::Handle<v4rt_reply, v4rt_reply_close> handle_;
};

}  // namespace api0
}  // namespace v4rt
