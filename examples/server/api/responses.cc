#include "examples/server/api/responses.h"

#include <fmt/format.h>

#include <ctime>

#include "examples/server/api/chat_request.h"

namespace v4rt::server::responses {
namespace {

OrderedJson usage(const Choice& choice) {
  return {{"input_tokens", choice.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", choice.cached_tokens}}},
          {"output_tokens", choice.tokens},
          {"output_tokens_details", {{"reasoning_tokens", choice.reasoning_tokens}}},
          {"total_tokens", choice.prompt_tokens + choice.tokens}};
}

bool is_cut(const Choice& choice) { return choice.finish == Finish::kLength || choice.finish == Finish::kTimeLimit; }

// What an answer consists of: reasoning, a message, calls.
OrderedJson reasoning_item(const std::string& id, const OrderedJson& content, std::string_view status) {
  return {
      {"type", "reasoning"}, {"id", id}, {"summary", OrderedJson::array()}, {"content", content}, {"status", status}};
}
OrderedJson message_item(const std::string& id, const OrderedJson& content, std::string_view status) {
  return {{"type", "message"}, {"id", id}, {"role", "assistant"}, {"status", status}, {"content", content}};
}
OrderedJson call_item(const std::string& id, const Call& call, std::string_view status) {
  return {{"type", "function_call"},     {"id", id},        {"call_id", call.id}, {"name", call.name},
          {"arguments", call.arguments}, {"status", status}};
}
OrderedJson reasoning_part(std::string_view text) { return {{"type", "reasoning_text"}, {"text", text}}; }
OrderedJson text_part(std::string_view text) {
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", OrderedJson::array()},
          {"logprobs", OrderedJson::array()}};
}

class Format final : public ReplyFormat {
 public:
  Format(const Ask& ask, OrderedJson echoed)
      : ask_(ask), echoed_(std::move(echoed)), id_(new_id("resp_")), created_(std::time(nullptr)) {}

  std::string whole(const std::vector<Choice>& choices) override {
    const Choice& choice = choices[0];
    const std::string_view status = is_cut(choice) ? "incomplete" : "completed";
    if (!choice.reasoning.empty())
      items_.push_back(reasoning_item(new_id("rs_"), OrderedJson::array({reasoning_part(choice.reasoning)}), status));
    if (!choice.content.empty())
      items_.push_back(message_item(new_id("msg_"), OrderedJson::array({text_part(choice.content)}), status));
    for (const Call& call : choice.calls) items_.push_back(call_item(new_id("fc_"), call, "completed"));
    return json(ended(choice));
  }

  std::string begin() override {
    const std::string created = event("response.created", {{"response", response("in_progress")}});
    return created + event("response.in_progress", {{"response", response("in_progress")}});
  }
  std::string alive() const override { return ": keep-alive\n\n"; }

  std::string piece(const Piece& piece) override {
    using Kind = Piece::Kind;
    if (piece.kind == Kind::kCallEnd) return close("completed");
    std::string events;
    if (piece.kind == Kind::kCall) {
      events = close("completed");
      call_ = {.id = piece.id, .name = piece.text};
      return events + open(piece.kind);
    }
    if (piece.kind != Kind::kArguments && open_ != piece.kind) {
      events = close("completed");
      events += open(piece.kind);
    }
    text_ += piece.text;
    const char* const type = piece.kind == Kind::kArguments   ? "response.function_call_arguments.delta"
                             : piece.kind == Kind::kReasoning ? "response.reasoning_text.delta"
                                                              : "response.output_text.delta";
    OrderedJson delta = place();
    delta["delta"] = piece.text;
    if (piece.kind == Kind::kContent) delta["logprobs"] = OrderedJson::array();
    return events + event(type, std::move(delta));
  }

  std::string end(const std::vector<Choice>& choices) override {
    const Choice& choice = choices[0];
    const std::string events = close(is_cut(choice) ? "incomplete" : "completed");
    const OrderedJson last = ended(choice);
    return events + event("response." + last["status"].get<std::string>(), {{"response", last}});
  }
  std::string failed(const ApiError& failure) override {
    OrderedJson last = response("failed");
    last["error"] = {{"code", failure.status == 429 ? "rate_limit_exceeded" : "server_error"},
                     {"message", failure.message}};
    return event("response.failed", {{"response", last}});
  }

 private:
  OrderedJson response(std::string_view status) const {
    OrderedJson made = {{"id", id_},           {"object", "response"}, {"created_at", created_},
                        {"status", status},    {"error", nullptr},     {"incomplete_details", nullptr},
                        {"model", ask_.model}, {"output", items_},     {"usage", nullptr}};
    made.update(echoed_);
    return made;
  }
  OrderedJson ended(const Choice& choice) const {
    OrderedJson made = response(is_cut(choice) ? "incomplete" : "completed");
    if (is_cut(choice)) made["incomplete_details"] = {{"reason", "max_output_tokens"}};
    made["usage"] = usage(choice);
    return made;
  }

  std::string event(std::string_view type, OrderedJson members) {
    OrderedJson data = {{"type", type}, {"sequence_number", sequence_++}};
    data.update(members);
    return fmt::format("event: {}\n{}", type, sse(json(data)));
  }
  OrderedJson place() const {
    OrderedJson place = {{"item_id", item_}, {"output_index", items_.size()}};
    if (open_ != Piece::Kind::kCall) place["content_index"] = 0;
    return place;
  }
  OrderedJson part() const { return open_ == Piece::Kind::kReasoning ? reasoning_part(text_) : text_part(text_); }
  OrderedJson item(const OrderedJson& content, std::string_view status) const {
    return open_ == Piece::Kind::kCall        ? call_item(item_, call_, status)
           : open_ == Piece::Kind::kReasoning ? reasoning_item(item_, content, status)
                                              : message_item(item_, content, status);
  }

  std::string open(Piece::Kind kind) {
    open_ = kind;
    text_.clear();
    item_ = new_id(kind == Piece::Kind::kCall ? "fc_" : kind == Piece::Kind::kReasoning ? "rs_" : "msg_");
    std::string events = event("response.output_item.added",
                               {{"output_index", items_.size()}, {"item", item(OrderedJson::array(), "in_progress")}});
    if (kind == Piece::Kind::kCall) return events;
    OrderedJson added = place();
    added["part"] = part();
    return events + event("response.content_part.added", std::move(added));
  }
  std::string close(std::string_view status) {
    if (!open_) return "";
    OrderedJson done = place();
    std::string events;
    if (open_ == Piece::Kind::kCall) {
      call_.arguments = text_;
      done["name"] = call_.name;
      done["arguments"] = text_;
      events = event("response.function_call_arguments.done", std::move(done));
    } else {
      OrderedJson whole = done;
      whole["text"] = text_;
      if (open_ == Piece::Kind::kContent) whole["logprobs"] = OrderedJson::array();
      done["part"] = part();
      events = event(open_ == Piece::Kind::kReasoning ? "response.reasoning_text.done" : "response.output_text.done",
                     std::move(whole));
      events += event("response.content_part.done", std::move(done));
    }
    const OrderedJson closed = item(OrderedJson::array({part()}), status);
    events += event("response.output_item.done", {{"output_index", items_.size()}, {"item", closed}});
    items_.push_back(closed);
    open_.reset();
    return events;
  }

  const Ask ask_;
  const OrderedJson echoed_;  // members of the request that an answer repeats
  const std::string id_;
  const int64_t created_;
  int sequence_ = 0;
  OrderedJson items_ = OrderedJson::array();  // that are complete
  std::optional<Piece::Kind> open_;           // the one that is being written,
  std::string item_, text_;                   // its id, and what it has so far
  Call call_;
};

std::string parts_text(const JsonField& content) {
  if (content.is_string()) return content.string();
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const JsonField part = content[i];
    const std::string& type = part["type"].string();
    check(type == "input_text" || type == "output_text" || type == "text" || type == "reasoning_text",
          Code::kInvalidArgument, "{} has the type {}: this model reads text only", part.place(), part["type"].shown());
    if (i > 0) text += "\n\n";
    text += part["text"].string();
  }
  return text;
}

// Reasoning, text and calls that follow each other are one message of the assistant.
ChatMessage& assistant(std::vector<ChatMessage>& messages) {
  if (messages.empty() || messages.back().role != "assistant") messages.push_back({.role = "assistant"});
  return messages.back();
}

void add_item(const JsonField& item, std::vector<ChatMessage>& messages) {
  const std::string type = item["type"].string("message");
  if (type == "function_call") {
    assistant(messages).tool_calls.push_back(
        {item["call_id"].string(), item["name"].string(), item["arguments"].string()});
  } else if (type == "function_call_output") {
    messages.push_back(
        {.role = "tool", .content = parts_text(item["output"]), .tool_call_id = item["call_id"].string()});
  } else if (type == "reasoning") {
    if (item["content"].present()) assistant(messages).reasoning += parts_text(item["content"]);
  } else if (type == "message") {
    const std::string& role = item["role"].string();
    if (role == "assistant") {
      assistant(messages).content += parts_text(item["content"]);
    } else {
      messages.push_back({.role = role == "developer" ? "system" : role, .content = parts_text(item["content"])});
    }
  } else {
    fail(Code::kInvalidArgument, "{}: items of type {} are not supported here", item.place(), item["type"].shown());
  }
}

std::vector<ChatMessage> messages_of(const JsonField& request) {
  std::vector<ChatMessage> messages;
  if (const JsonField instructions = request["instructions"]; instructions.present())
    messages.push_back({.role = "system", .content = instructions.string()});
  const JsonField input = request["input"];
  if (input.is_string()) {
    messages.push_back({.role = "user", .content = input.string()});
  } else {
    for (size_t i = 0; i < input.size(); ++i) add_item(input[i], messages);
  }
  return messages;
}

Tools tools_of(const JsonField& request) {
  Tools tools;
  const JsonField list = request["tools"], choice = request["tool_choice"];
  for (size_t i = 0; list.present() && i < list.size(); ++i) {
    const JsonField& tool = list[i];
    if (const std::string& type = tool["type"].string(); type != "function")
      fail(Code::kInvalidArgument, "{}: tools of type {} are not supported here, functions are", tool.place(),
           tool["type"].shown());
    check_tool_name(tool["name"]);
    Json::Object function = tool.value().object();
    std::erase_if(function, [](const Json::Member& member) { return member.key == "type" || member.key == "strict"; });
    tools.functions.push_back(Json(std::move(function)).python());
    tools.rules.push_back({tool["name"].string(), tool["parameters"], tool["strict"].flag(false)});
  }
  choose_tool(choice, choice.is_object() ? choice["name"] : choice, tools);
  return tools;
}

}  // namespace

Asked create(const Json& body, const ModelInfo& model) {
  const JsonField request(body, "");
  check(!request.object()["previous_response_id"].present(), Code::kInvalidArgument,
        "previous_response_id: no responses are kept here; send the whole conversation as input");
  Ask ask;
  ask.model = request["model"].string(model.name);
  ask.stream = request["stream"].flag(false);
  ask.max_tokens = request["max_output_tokens"].whole(1, INT64_MAX, INT64_MAX);
  ask.space = request["user"].string("");
  ask.one_call = !request["parallel_tool_calls"].flag(true);
  ChatOptions options{.thinking = ThinkingMode::kThinking, .revision = model.revision};
  const JsonField reasoning = request["reasoning"], text = request["text"];
  set_effort(reasoning.present() ? reasoning["effort"] : reasoning, request["tools"], model, options);
  const AnswerFormat format = text.present() ? answer_format(text["format"]) : AnswerFormat();
  ask_chat(request, messages_of(request), tools_of(request), format, options, model, ask);

  OrderedJson echoed = {{"instructions", nullptr},
                        {"max_output_tokens", nullptr},
                        {"metadata", OrderedJson::object()},
                        {"parallel_tool_calls", true},
                        {"previous_response_id", nullptr},
                        {"reasoning", OrderedJson::object()},
                        {"store", false},
                        {"temperature", 1.0},
                        {"text", {{"format", {{"type", "text"}}}}},
                        {"tool_choice", "auto"},
                        {"tools", OrderedJson::array()},
                        {"top_p", 1.0},
                        {"truncation", "disabled"}};
  for (auto& [name, value] : echoed.items())
    if (body.contains(name) && name != "store") value = *body.find(name);
  auto made = std::make_unique<Format>(ask, std::move(echoed));
  return {std::move(ask), std::move(made)};
}

}  // namespace v4rt::server::responses
