#include "examples/server/api/openai.h"

#include <algorithm>
#include <ctime>
#include <span>

#include "examples/server/api/chat_request.h"
#include "loaders/text/chat_json.h"

namespace v4rt::server::openai {
namespace {

std::string_view finish_reason(Finish finish) {
  switch (finish) {
    case Finish::kStop:
    case Finish::kStopString: return "stop";
    case Finish::kLength: return "length";
    case Finish::kToolCalls: return "tool_calls";
    case Finish::kTimeLimit: return "insufficient_system_resource";
  }
  return "";
}

OrderedJson usage(const std::vector<Choice>& choices) {
  const int64_t prompt = choices[0].prompt_tokens, cached = choices[0].cached_tokens;
  int64_t tokens = 0, reasoning = 0;
  for (const Choice& choice : choices) {
    tokens += choice.tokens;
    reasoning += choice.reasoning_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", tokens},
          {"total_tokens", prompt + tokens},
          {"prompt_tokens_details", {{"cached_tokens", cached}}},
          {"prompt_cache_hit_tokens", cached},
          {"prompt_cache_miss_tokens", prompt - cached},
          {"completion_tokens_details", {{"reasoning_tokens", reasoning}}}};
}

// Both APIs are the same but for what a choice consists of.
class Format : public ReplyFormat {
 public:
  Format(const Ask& ask, std::string_view object, std::string_view id_prefix, bool include_usage,
         const ModelInfo& model)
      : ask_(ask),
        tokenizer_(model.tokenizer),
        fingerprint_(model.fingerprint),
        object_(object),
        id_(new_id(id_prefix)),
        created_(std::time(nullptr)),
        usage_(include_usage) {}

  std::string whole(const std::vector<Choice>& choices) override {
    OrderedJson list = OrderedJson::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      OrderedJson choice = {{"index", i}};
      choice.update(said(choices[i]));
      choice["logprobs"] = logprobs(i, choices[i].chances);
      choice["finish_reason"] = finish_reason(choices[i].finish);
      list.push_back(std::move(choice));
    }
    OrderedJson answer = envelope(object_, std::move(list));
    answer["usage"] = usage(choices);
    return json(answer);
  }

  std::string alive() const override { return ": keep-alive\n\n"; }
  std::string piece(const Piece& piece) override {
    return piece.kind == Piece::Kind::kCallEnd ? "" : event(piece.choice, more(piece), piece.chances, nullptr);
  }
  std::string end(const std::vector<Choice>& choices) override {
    std::string events;
    for (size_t i = 0; i < choices.size(); ++i) {
      const auto untold = std::span(choices[i].chances).subspan(choices[i].told);
      const bool last = i + 1 == choices.size() && !usage_;  // as DeepSeek's service has it for who does not ask
      events += event(i, nothing(), untold, finish_reason(choices[i].finish), last ? usage(choices) : nullptr);
    }
    if (usage_) {
      OrderedJson last = envelope(chunk(), OrderedJson::array());
      last["usage"] = usage(choices);
      events += sse(json(last));
    }
    return events + sse("[DONE]");
  }
  std::string failed(const ApiError& failure) override { return sse(json(error(failure))); }

 protected:
  // The members of a choice that carry text: of a whole one, of a piece of a stream, and of its last piece.
  virtual OrderedJson said(const Choice& choice) const = 0;
  virtual OrderedJson more(const Piece& piece) const = 0;
  virtual OrderedJson nothing() const = 0;
  virtual std::string chunk() const { return object_; }
  virtual OrderedJson written(size_t choice, std::span<const TokenChances> chances) = 0;

  std::string event(size_t index, const OrderedJson& text, std::span<const TokenChances> chances,
                    const OrderedJson& finish, const OrderedJson& used = nullptr) {
    OrderedJson choice = {{"index", index}};
    choice.update(text);
    choice["logprobs"] = logprobs(index, chances);
    choice["finish_reason"] = finish;
    OrderedJson event = envelope(chunk(), OrderedJson::array({std::move(choice)}));
    if (usage_ || !used.is_null()) event["usage"] = used;
    return sse(json(event));
  }

  std::string token_text(int32_t id) const { return std::string(tokenizer_->token_bytes(id)); }

  const Ask ask_;
  const std::shared_ptr<const Tokenizer> tokenizer_;

 private:
  OrderedJson logprobs(size_t choice, std::span<const TokenChances> chances) {
    return ask_.sampler.logprobs && !chances.empty() ? written(choice, chances) : OrderedJson(nullptr);
  }
  OrderedJson envelope(const std::string& object, OrderedJson choices) const {
    return {{"id", id_},
            {"object", object},
            {"created", created_},
            {"model", ask_.model},
            {"system_fingerprint", fingerprint_},
            {"choices", std::move(choices)}};
  }

  const std::string fingerprint_, object_, id_;
  const int64_t created_;
  const bool usage_;
};

// JSON has no infinity.
double finite(float logprob) { return std::max(static_cast<double>(logprob), -9999.0); }

class ChatFormat final : public Format {
 public:
  ChatFormat(const Ask& ask, bool include_usage, const ModelInfo& model)
      : Format(ask, "chat.completion", "chatcmpl-", include_usage, model) {}

  std::string begin() override {
    OrderedJson delta = {{"role", "assistant"}, {"content", thinking() ? OrderedJson(nullptr) : OrderedJson("")}};
    if (thinking()) delta["reasoning_content"] = "";
    std::string events;
    for (int i = 0; i < ask_.n; ++i) events += event(static_cast<size_t>(i), {{"delta", delta}}, {}, nullptr);
    return events;
  }

 protected:
  OrderedJson said(const Choice& choice) const override {
    OrderedJson message = {{"role", "assistant"}, {"content", choice.content}};
    if (thinking()) message["reasoning_content"] = choice.reasoning;
    for (const Call& call : choice.calls) message["tool_calls"].push_back(opened(call.id, call.name, call.arguments));
    return {{"message", message}};
  }
  OrderedJson more(const Piece& piece) const override {
    if (piece.kind == Piece::Kind::kCall || piece.kind == Piece::Kind::kArguments) {
      OrderedJson call = {{"index", piece.call}};
      if (piece.kind == Piece::Kind::kCall) {
        call.update(opened(piece.id, piece.text, ""));
      } else {
        call["function"]["arguments"] = piece.text;
      }
      return {{"delta", {{"tool_calls", OrderedJson::array({std::move(call)})}}}};
    }
    const char* const key = piece.kind == Piece::Kind::kReasoning ? "reasoning_content" : "content";
    return {{"delta", {{key, piece.text}}}};
  }
  OrderedJson nothing() const override { return {{"delta", OrderedJson::object()}}; }
  std::string chunk() const override { return "chat.completion.chunk"; }

  OrderedJson written(size_t, std::span<const TokenChances> chances) override {
    OrderedJson all = {{"content", OrderedJson::array()}};
    if (thinking()) all["reasoning_content"] = OrderedJson::array();
    for (const auto& [reasoning, tokens] : chances) {
      OrderedJson entry = described(tokens[0]);
      entry["top_logprobs"] = OrderedJson::array();
      for (const TokenLogprob& one : std::span(tokens).subspan(1)) entry["top_logprobs"].push_back(described(one));
      all[reasoning ? "reasoning_content" : "content"].push_back(std::move(entry));
    }
    return all;
  }

 private:
  OrderedJson described(const TokenLogprob& one) const {
    const std::string text = token_text(one.id);
    OrderedJson bytes = OrderedJson::array();
    for (const char byte : text) bytes.push_back(static_cast<unsigned char>(byte));
    return {{"token", text}, {"logprob", finite(one.logprob)}, {"bytes", std::move(bytes)}};
  }
  static OrderedJson opened(const std::string& id, const std::string& name, const std::string& arguments) {
    return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
  }
  bool thinking() const { return ask_.kind == ReplyKind::kThinking; }
};

class CompletionFormat final : public Format {
 public:
  // `first`: the token that the echo begins with, where its chances are asked for, which nobody knows.
  CompletionFormat(const Ask& ask, std::string echo, std::optional<int32_t> first, bool include_usage,
                   const ModelInfo& model)
      : Format(ask, "text_completion", "cmpl-", include_usage, model),
        echo_(std::move(echo)),
        first_(static_cast<size_t>(ask.n), first),
        offsets_(static_cast<size_t>(ask.n)) {}

  std::string begin() override {
    std::string events;
    for (int i = 0; i < ask_.n && !echo_.empty(); ++i)
      events += event(static_cast<size_t>(i), {{"text", echo_}}, {}, nullptr);
    return events;
  }

 protected:
  OrderedJson said(const Choice& choice) const override { return {{"text", echo_ + choice.content}}; }
  OrderedJson more(const Piece& piece) const override { return {{"text", piece.text}}; }
  OrderedJson nothing() const override { return {{"text", ""}}; }

  OrderedJson written(size_t choice, std::span<const TokenChances> chances) override {
    OrderedJson all = {{"tokens", OrderedJson::array()},
                       {"token_logprobs", OrderedJson::array()},
                       {"top_logprobs", OrderedJson::array()},
                       {"text_offset", OrderedJson::array()}};
    const auto add = [&](int32_t id, OrderedJson logprob, OrderedJson top) {
      const std::string text = token_text(id);
      all["tokens"].push_back(text);
      all["token_logprobs"].push_back(std::move(logprob));
      all["top_logprobs"].push_back(std::move(top));
      all["text_offset"].push_back(offsets_[choice]);
      const auto begins = [](char byte) { return (byte & 0xc0) != 0x80; };  // a character, in UTF-8
      offsets_[choice] += std::count_if(text.begin(), text.end(), begins);
    };
    if (const auto first = std::exchange(first_[choice], std::nullopt)) add(*first, nullptr, nullptr);
    for (const TokenChances& chance : chances) {
      OrderedJson top = OrderedJson::object();
      for (const TokenLogprob& one : std::span(chance.tokens).subspan(1)) top[token_text(one.id)] = finite(one.logprob);
      add(chance.tokens[0].id, finite(chance.tokens[0].logprob), std::move(top));
    }
    return all;
  }

 private:
  const std::string echo_;
  std::vector<std::optional<int32_t>> first_;  // until it is written, of each choice
  std::vector<int64_t> offsets_;               // in characters, of the next token of each choice
};

// What both kinds of requests say in the same words.
Ask common(const JsonField& request, const ModelInfo& model, int64_t fewest_tokens) {
  Ask ask;
  ask.model = request["model"].string(model.name);
  ask.stop = stop_strings(request["stop"]);
  ask.n = static_cast<int>(request["n"].whole(1, 16, 1));
  ask.stream = request["stream"].flag(false);
  const JsonField most =
      request["max_completion_tokens"].present() ? request["max_completion_tokens"] : request["max_tokens"];
  ask.max_tokens = most.whole(fewest_tokens, INT64_MAX, INT64_MAX);
  const JsonField id = request["user_id"];
  check_user_id(id);
  ask.space = (id.present() ? id : request["user"]).string("");
  return ask;
}

bool include_usage(const JsonField& request) {
  const JsonField options = request["stream_options"];
  return options.present() && options["include_usage"].flag(false);
}

ChatMessage message_of(const JsonField& message) {
  ChatMessage mine;
  mine.role = message["role"].string();
  if (mine.role == "developer") mine.role = "system";
  mine.content = content_text(message["content"]);
  if (mine.role == "tool") mine.tool_call_id = message["tool_call_id"].string("");
  const JsonField prefix = message["prefix"];
  mine.unfinished = prefix.flag(false);
  if (mine.unfinished && mine.role != "assistant") prefix.refuse("true only in a last message of the assistant");
  if (mine.role != "assistant") return mine;
  mine.reasoning = message["reasoning_content"].string("");
  mine.tool_calls = read_tool_calls(message["tool_calls"]);
  return mine;
}

Tools tools_of(const JsonField& request) {
  Tools tools;
  const JsonField list = request["tools"], choice = request["tool_choice"];
  constexpr size_t kMost = 128;
  for (size_t i = 0; list.present() && i < list.size(); ++i) {
    const JsonField function = list[i]["function"];
    check_tool_name(function["name"]);
    tools.functions.push_back(read_tool(list[i]));
    tools.rules.push_back({function["name"].string(), function["parameters"], function["strict"].flag(false)});
  }
  check(tools.functions.size() <= kMost, Code::kInvalidArgument, "there are {} tools: {} at most",
        tools.functions.size(), kMost);
  choose_tool(choice, choice.is_object() ? choice["function"]["name"] : choice, tools);
  return tools;
}

ChatOptions chat_options(const JsonField& request, const Ask& ask, const ModelInfo& model) {
  ChatOptions options{.thinking = ThinkingMode::kThinking, .revision = model.revision};
  if (ask.model == "deepseek-chat") options.thinking = ThinkingMode::kChat;
  const auto think = [&](bool on) { options.thinking = on ? ThinkingMode::kThinking : ThinkingMode::kChat; };
  if (const JsonField kwargs = request["chat_template_kwargs"]; kwargs.present()) {
    for (const char* const key : {"thinking", "enable_thinking"})
      if (kwargs[key].present()) think(kwargs[key].flag(true));
  }
  if (const JsonField thinking = request["thinking"]; thinking.present()) {
    const std::string& type = thinking["type"].string();
    if (type != "enabled" && type != "disabled" && type != "adaptive") thinking["type"].refuse("enabled or disabled");
    think(type != "disabled");
  }
  set_effort(request["reasoning_effort"], request["tools"], model, options);
  return options;
}

}  // namespace

Asked chat(const Json& body, const ModelInfo& model) {
  const JsonField request(body, "");
  request.object();
  Ask ask = common(request, model, 1);
  const ChatOptions options = chat_options(request, ask, model);
  std::vector<ChatMessage> messages;
  const JsonField list = request["messages"];
  for (size_t i = 0; i < list.size(); ++i) {
    messages.push_back(message_of(list[i]));
    if (messages.back().unfinished && i + 1 < list.size())
      list[i]["prefix"].refuse("true only in a last message of the assistant");
  }
  const Tools tools = tools_of(request);
  ask.one_call = !request["parallel_tool_calls"].flag(true);
  const AnswerFormat response = answer_format(request["response_format"], "json_schema");
  ask_chat(request, std::move(messages), tools, response, options, model, ask);
  const JsonField top = request["top_logprobs"];
  const auto likeliest = static_cast<int32_t>(top.whole(kLogprobsRange.low, kLogprobsRange.high, 0));
  const bool logprobs = request["logprobs"].flag(false);
  check(logprobs || !top.present(), Code::kInvalidArgument, "top_logprobs needs \"logprobs\": true");
  if (logprobs) ask.sampler.logprobs = likeliest;
  auto format = std::make_unique<ChatFormat>(ask, include_usage(request), model);
  return {std::move(ask), std::move(format)};
}

Asked completion(const Json& body, const ModelInfo& model) {
  const JsonField request(body, "");
  request.object();
  Ask ask = common(request, model, 0);
  check(!request["response_format"].present(), Code::kInvalidArgument, "response_format is for chat completions");
  ask.sampler = sampler_of(request, {}, /*tools=*/true, model);
  const JsonField logprobs = request["logprobs"];
  if (logprobs.present())
    ask.sampler.logprobs = static_cast<int32_t>(logprobs.whole(kLogprobsRange.low, kLogprobsRange.high, 0));
  const JsonField prompt = request["prompt"], suffix = request["suffix"];
  const bool echo = request["echo"].flag(false);
  check(!echo || !suffix.present(), Code::kInvalidArgument, "echo cannot be had with suffix");
  ask.prompt_logprobs = echo && logprobs.present();
  if (prompt.is_array()) {
    check(!suffix.present(), Code::kInvalidArgument, "a prompt of token ids cannot have a suffix");
    for (size_t i = 0; i < prompt.size(); ++i)
      ask.prompt.push_back(static_cast<int32_t>(prompt[i].whole(0, INT32_MAX, -1)));
  } else {
    std::vector<TextPart> parts = {{std::string(kBosToken), true}};
    const auto add = [&](std::string_view text, bool control) { parts.push_back({std::string(text), control}); };
    if (suffix.present()) add("<｜fim▁begin｜>", true);
    add(prompt.string(), false);
    if (suffix.present()) {
      add("<｜fim▁hole｜>", true);
      add(suffix.string(), false);
      add("<｜fim▁end｜>", true);
    }
    ask.prompt = model.tokenizer->encode(parts);
  }
  std::string echoed;
  if (echo) echoed = prompt.is_string() ? prompt.string() : model.tokenizer->decode(ask.prompt);
  std::optional<int32_t> first;  // of a text it is the beginning token, which is not part of the echo
  if (ask.prompt_logprobs && prompt.is_array() && !ask.prompt.empty()) first = ask.prompt[0];
  auto format = std::make_unique<CompletionFormat>(ask, std::move(echoed), first, include_usage(request), model);
  return {std::move(ask), std::move(format)};
}

OrderedJson describe(const ModelInfo& model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "v4rt"},
          {"context_length", model.context}};
}

OrderedJson models(const ModelInfo& model) {
  return {{"object", "list"}, {"data", OrderedJson::array({describe(model)})}};
}

OrderedJson error(const ApiError& error) {
  const std::string_view type = error.status == 401   ? "authentication_error"
                                : error.status == 429 ? "rate_limit_error"
                                : error.status >= 500 ? "server_error"
                                                      : "invalid_request_error";
  return {{"error", {{"message", error.message}, {"type", type}, {"param", nullptr}, {"code", type}}}};
}

}  // namespace v4rt::server::openai
