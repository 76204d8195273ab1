#include "graph/api/arrays.h"
#include "graph/api/boundary.h"
#include "loaders/files/json_file.h"
#include "loaders/text/chat_json.h"

using v4rt::Code;
using v4rt::api::check_flag;
using v4rt::api::guarded;
using v4rt::api::require;

namespace {

std::string text(const char* bytes, size_t n, std::string_view what) {
  if (n > 0) require(bytes, what);
  return n > 0 ? std::string(bytes, n) : std::string();
}

// A text in JSON, which is not there where it has no bytes.
v4rt::Json json(const char* bytes, size_t n, std::string_view what) {
  return n > 0 ? v4rt::parse_request_json(text(bytes, n, what), what) : v4rt::Json();
}

std::vector<std::string> tools_of(const v4rt_chat_options& options) {
  constexpr const char* kPlace = "v4rt_chat_options.tools";
  const v4rt::Json parsed = json(options.tools, options.n_tools, kPlace);
  const v4rt::JsonField list(parsed, kPlace);
  std::vector<std::string> tools;
  for (size_t i = 0; list.present() && i < list.size(); ++i) tools.push_back(v4rt::read_tool(list[i]));
  return tools;
}

v4rt::ChatMessage message_of(const v4rt_message& m) {
  constexpr const char* kCalls = "v4rt_message.tool_calls";
  require(m.role, "v4rt_message: role");
  const v4rt::Json calls = json(m.tool_calls, m.n_tool_calls, kCalls);
  return {.role = m.role,
          .content = text(m.content, m.n_content, "v4rt_message: content"),
          .reasoning = text(m.reasoning, m.n_reasoning, "v4rt_message: reasoning"),
          .tool_calls = v4rt::read_tool_calls(v4rt::JsonField(calls, kCalls)),
          .tool_call_id = m.tool_call_id != nullptr ? m.tool_call_id : ""};
}

std::vector<v4rt::TextPart> render(const v4rt_message* messages, size_t n_messages, const v4rt_chat_options* options) {
  const auto o = v4rt::api::read_options(options, "v4rt_chat_options");
  v4rt::check(o.effort >= V4RT_EFFORT_DEFAULT && o.effort <= V4RT_EFFORT_MAX, Code::kInvalidArgument,
              "v4rt_chat_options.effort is {}; it is a v4rt_effort", o.effort);
  v4rt::check(o.revision == V4RT_CHAT_PREVIEW || o.revision == V4RT_CHAT_0731, Code::kInvalidArgument,
              "v4rt_chat_options.revision is {}; it is a v4rt_chat_revision", o.revision);
  check_flag(o.thinking, "v4rt_chat_options.thinking");
  check_flag(o.keep_reasoning, "v4rt_chat_options.keep_reasoning");
  check_flag(o.no_bos, "v4rt_chat_options.no_bos");
  check_flag(o.allow_closed, "v4rt_chat_options.allow_closed");
  std::vector<v4rt::ChatMessage> conversation;
  for (const v4rt_message& message : v4rt::api::read_array(messages, n_messages, "v4rt_message"))
    conversation.push_back(message_of(message));
  v4rt::offer(tools_of(o), "", conversation);
  return v4rt::render_chat(
      conversation,
      {.thinking = o.thinking != 0 ? v4rt::ThinkingMode::kThinking : v4rt::ThinkingMode::kChat,
       .effort = static_cast<v4rt::ReasoningEffort>(o.effort),
       .drop_thinking = o.keep_reasoning == 0,
       .add_bos = o.no_bos == 0,
       .revision = o.revision == V4RT_CHAT_0731 ? v4rt::ChatRevision::k0731 : v4rt::ChatRevision::kPreview,
       .allow_closed = o.allow_closed != 0});
}

}  // namespace

v4rt_status v4rt_chat_encode(const v4rt_tokenizer* tokenizer, const v4rt_message* messages, size_t n_messages,
                             const v4rt_chat_options* options, int32_t* ids, size_t capacity, size_t* n_ids) {
  return guarded([&] {
    require(tokenizer, "v4rt_chat_encode: tokenizer");
    require(n_ids, "v4rt_chat_encode: n_ids");
    v4rt::api::write_array(tokenizer->tokenizer->encode(render(messages, n_messages, options)), ids, capacity, n_ids,
                           "v4rt_chat_encode: ids");
  });
}

v4rt_status v4rt_chat_render(const v4rt_message* messages, size_t n_messages, const v4rt_chat_options* options,
                             char** text) {
  return guarded([&] {
    require(text, "v4rt_chat_render: text");
    *text = v4rt::api::allocated_text(v4rt::written_out(render(messages, n_messages, options)));
  });
}
