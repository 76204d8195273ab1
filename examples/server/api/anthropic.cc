#include "examples/server/api/anthropic.h"

#include <fmt/format.h>

#include "examples/server/api/chat_request.h"
#include "ops/core/hash.h"
#include "ops/core/log.h"

namespace v4rt::server::anthropic {
namespace {

std::string event(const OrderedJson& data) {
  return fmt::format("event: {}\n{}", data["type"].get_ref<const std::string&>(), sse(json(data)));
}

OrderedJson usage(const Choice& choice) {
  return {{"input_tokens", choice.prompt_tokens - choice.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", choice.cached_tokens},
          {"output_tokens", choice.tokens}};
}

std::string_view stop_reason(Finish finish) {
  switch (finish) {
    case Finish::kStop: return "end_turn";
    case Finish::kStopString: return "stop_sequence";
    case Finish::kToolCalls: return "tool_use";
    case Finish::kLength:
    case Finish::kTimeLimit: return "max_tokens";
  }
  return "";
}

OrderedJson stop_string(const Choice& choice) {
  return choice.finish == Finish::kStopString ? OrderedJson(choice.stop_string) : OrderedJson(nullptr);
}

// Clients give it back with the reasoning. It says which reasoning that is, and is not read here: the prompt is made of
// the text that comes back, and finds what is kept of it by its tokens, signed here or elsewhere.
std::string signature(std::string_view reasoning) { return to_string(hash_of(reasoning)); }

class Format final : public ReplyFormat {
 public:
  explicit Format(const Ask& ask) : ask_(ask), id_(new_id("msg_")) {}

  std::string whole(const std::vector<Choice>& choices) override {
    const Choice& choice = choices[0];
    OrderedJson content = OrderedJson::array();
    if (!choice.reasoning.empty()) {
      content.push_back(
          {{"type", "thinking"}, {"thinking", choice.reasoning}, {"signature", signature(choice.reasoning)}});
    }
    if (!choice.content.empty()) content.push_back({{"type", "text"}, {"text", choice.content}});
    for (const Call& call : choice.calls) {
      content.push_back(
          {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", OrderedJson::parse(call.arguments)}});
    }
    OrderedJson message = envelope();
    message["content"] = std::move(content);
    message["stop_reason"] = stop_reason(choice.finish);
    message["stop_sequence"] = stop_string(choice);
    message["usage"] = usage(choice);
    return json(message);
  }

  std::string begin() override {
    OrderedJson message = envelope();
    message["usage"] = usage({.prompt_tokens = static_cast<int64_t>(ask_.prompt.size())});
    return event({{"type", "message_start"}, {"message", message}});
  }
  std::string alive() const override { return event({{"type", "ping"}}); }

  std::string piece(const Piece& piece) override {
    using Kind = Piece::Kind;
    if (piece.kind == Kind::kCallEnd) return close();
    if (piece.kind == Kind::kCall) {
      return open(piece.kind,
                  {{"type", "tool_use"}, {"id", piece.id}, {"name", piece.text}, {"input", OrderedJson::object()}});
    }
    std::string events;
    const bool reasoning = piece.kind == Kind::kReasoning;
    if (reasoning && open_ != piece.kind)
      events = open(piece.kind, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
    if (reasoning) reasoning_ += piece.text;
    if (piece.kind == Kind::kContent && open_ != piece.kind)
      events = open(piece.kind, {{"type", "text"}, {"text", ""}});
    return events + (reasoning                        ? delta("thinking_delta", "thinking", piece.text)
                     : piece.kind == Kind::kArguments ? delta("input_json_delta", "partial_json", piece.text)
                                                      : delta("text_delta", "text", piece.text));
  }

  std::string end(const std::vector<Choice>& choices) override {
    const Choice& choice = choices[0];
    return close() +
           event({{"type", "message_delta"},
                  {"delta", {{"stop_reason", stop_reason(choice.finish)}, {"stop_sequence", stop_string(choice)}}},
                  {"usage", usage(choice)}}) +
           event({{"type", "message_stop"}});
  }
  std::string failed(const ApiError& failure) override { return event(error(failure)); }

 private:
  OrderedJson envelope() const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", ask_.model},
            {"content", OrderedJson::array()},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr}};
  }

  std::string open(Piece::Kind kind, const OrderedJson& block) {
    std::string events = close();
    open_ = kind;
    return events + event({{"type", "content_block_start"}, {"index", index_}, {"content_block", block}});
  }
  std::string close() {
    if (!open_) return "";
    std::string events;
    if (open_ == Piece::Kind::kReasoning) events = delta("signature_delta", "signature", signature(reasoning_));
    open_.reset();
    return events + event({{"type", "content_block_stop"}, {"index", index_++}});
  }
  std::string delta(std::string_view type, const char* key, std::string_view text) const {
    return event({{"type", "content_block_delta"}, {"index", index_}, {"delta", {{"type", type}, {key, text}}}});
  }

  const Ask ask_;
  const std::string id_;
  std::string reasoning_;            // so far
  std::optional<Piece::Kind> open_;  // the block that is being written
  int index_ = 0;                    // its, or the next one's
};

[[noreturn]] void refuse_block(const JsonField& block) {
  fail(Code::kInvalidArgument, "{}: blocks of type {} are not supported here", block.place(), block["type"].shown());
}

void add_assistant(const JsonField& content, std::vector<ChatMessage>& messages) {
  ChatMessage message{.role = "assistant"};
  if (content.is_string()) message.content = content.string();
  for (size_t i = 0; !content.is_string() && i < content.size(); ++i) {
    const JsonField block = content[i];
    const std::string& type = block["type"].string();
    if (type == "thinking") {
      message.reasoning += block["thinking"].string();
    } else if (type == "text") {
      message.content += block["text"].string();
    } else if (type == "tool_use") {
      message.tool_calls.push_back(
          {block["id"].string(), block["name"].string(), block["input"].object().value().python()});
    } else if (type != "redacted_thinking") {
      refuse_block(block);
    }
  }
  messages.push_back(std::move(message));
}

void add_user(const JsonField& content, std::vector<ChatMessage>& messages) {
  if (content.is_string()) return messages.push_back({.role = "user", .content = content.string()});
  for (size_t i = 0; i < content.size(); ++i) {
    const JsonField block = content[i];
    const std::string& type = block["type"].string();
    if (type == "text") {
      messages.push_back({.role = "user", .content = block["text"].string()});
    } else if (type == "tool_result") {
      messages.push_back(
          {.role = "tool", .content = content_text(block["content"]), .tool_call_id = block["tool_use_id"].string()});
    } else {
      refuse_block(block);
    }
  }
}

std::vector<ChatMessage> messages_of(const JsonField& request) {
  std::vector<ChatMessage> messages;
  if (const JsonField system = request["system"]; system.present())
    messages.push_back({.role = "system", .content = content_text(system)});
  const JsonField list = request["messages"];
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonField role = list[i]["role"], content = list[i]["content"];
    if (role.string() == "user") {
      add_user(content, messages);
    } else if (role.string() == "assistant") {
      add_assistant(content, messages);
    } else if (role.string() == "system") {
      messages.push_back({.role = "system", .content = content_text(content)});
    } else {
      role.refuse("user, assistant or system");
    }
  }
  return messages;
}

Tools tools_of(const JsonField& request) {
  Tools tools;
  const JsonField list = request["tools"], choice = request["tool_choice"];
  for (size_t i = 0; list.present() && i < list.size(); ++i) {
    const JsonField schema = list[i]["input_schema"];
    if (!schema.present()) {
      log::warn("a tool of the type {} is one of Anthropic's servers: passed over", list[i]["type"].shown());
      continue;
    }
    check_tool_name(list[i]["name"]);
    tools.functions.push_back(Json(Json::Object{{"name", list[i]["name"].string()},
                                                {"description", list[i]["description"].string("")},
                                                {"parameters", schema.value()}})
                                  .python());
    tools.rules.push_back({list[i]["name"].string(), schema, list[i]["strict"].flag(false)});
  }
  if (!choice.present()) return tools;
  const std::string& type = choice["type"].string();
  if (type == "none") {
    tools.choice = Tools::Choice::kNone;
  } else if (type == "any") {
    tools.choice = Tools::Choice::kAny;
  } else if (type == "tool") {
    tools.choice = Tools::Choice::kNamed;
    tools.name = choice["name"].string();
  } else if (type != "auto") {
    choice["type"].refuse("auto, any, tool or none");
  }
  return tools;
}

ChatOptions chat_options(const JsonField& request, const ModelInfo& model) {
  ChatOptions options{.thinking = ThinkingMode::kThinking, .revision = model.revision};
  if (const JsonField thinking = request["thinking"]; thinking.present()) {
    const std::string& type = thinking["type"].string();
    if (type != "enabled" && type != "disabled" && type != "adaptive")
      thinking["type"].refuse("enabled, adaptive or disabled");
    if (type == "disabled") options.thinking = ThinkingMode::kChat;
  }
  const JsonField output = request["output_config"];
  set_effort(output.present() ? output["effort"] : output, request["tools"], model, options);
  return options;
}

Ask ask_of(const JsonField& request, const ModelInfo& model) {
  Ask ask;
  ask.call_prefix = "toolu_";
  ask.model = request["model"].string(model.name);
  ask.stop = stop_strings(request["stop_sequences"]);
  ask.stream = request["stream"].flag(false);
  if (const JsonField metadata = request["metadata"]; metadata.present()) ask.space = metadata["user_id"].string("");
  if (const JsonField choice = request["tool_choice"]; choice.present())
    ask.one_call = choice["disable_parallel_tool_use"].flag(false);
  const JsonField output = request["output_config"];
  const AnswerFormat format = answer_format(output.present() ? output["format"] : request["output_format"]);
  ask_chat(request, messages_of(request), tools_of(request), format, chat_options(request, model), model, ask);
  return ask;
}

}  // namespace

Asked messages(const Json& body, const ModelInfo& model) {
  const JsonField request(body, "");
  Ask ask = ask_of(request, model);
  const JsonField most = request["max_tokens"];
  if (!most.present()) most.refuse("a whole number");
  ask.max_tokens = most.whole(1, INT64_MAX, 1);
  auto format = std::make_unique<Format>(ask);
  return {std::move(ask), std::move(format)};
}

OrderedJson count_tokens(const Json& body, const ModelInfo& model) {
  return {{"input_tokens", ask_of(JsonField(body, ""), model).prompt.size()}};
}

OrderedJson models(const ModelInfo& model) {
  OrderedJson one = {{"type", "model"}, {"id", model.name}, {"display_name", model.name}};
  return {{"data", OrderedJson::array({std::move(one)})},
          {"has_more", false},
          {"first_id", model.name},
          {"last_id", model.name}};
}

OrderedJson error(const ApiError& error) {
  const int status = error.status;
  const std::string_view type = status == 401   ? "authentication_error"
                                : status == 403 ? "permission_error"
                                : status == 404 ? "not_found_error"
                                : status == 413 ? "request_too_large"
                                : status == 429 ? "rate_limit_error"
                                : status == 503 ? "overloaded_error"
                                : status >= 500 ? "api_error"
                                                : "invalid_request_error";
  return {{"type", "error"}, {"error", {{"type", type}, {"message", error.message}}}};
}

}  // namespace v4rt::server::anthropic
