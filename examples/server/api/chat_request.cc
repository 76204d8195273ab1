#include "examples/server/api/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <random>

#include "examples/server/api/strict_tool.h"
#include "graph/grammar/token_matcher.h"
#include "loaders/files/json_file.h"
#include "loaders/text/chat_json.h"
#include "ops/core/log.h"

namespace v4rt::server {
namespace {

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

using ToolChoice = Tools::Choice;

bool forces(const Tools& tools) { return tools.choice == ToolChoice::kAny || tools.choice == ToolChoice::kNamed; }

// Holds the reply to a grammar, where something asks for one.
void hold(const Tools& tools, const std::optional<JsonField>& schema, std::vector<int32_t> begun,
          const ModelInfo& model, Ask& ask) {
  const bool strict = std::ranges::any_of(tools.rules, &ReplyRules::Tool::strict);
  if (!schema && !(ask.tools && (strict || forces(tools)))) return;
  ReplyRules rules{.thinking = ask.kind == ReplyKind::kThinking, .schema = schema, .must_call = forces(tools)};
  for (const ReplyRules::Tool& tool : tools.rules)
    if (ask.tools && (tools.choice != ToolChoice::kNamed || tool.name == tools.name)) rules.tools.push_back(tool);
  ask.sampler.filter = [grammar = reply_grammar(rules), trie = model.trie, begun = std::move(begun)] {
    return std::make_unique<TokenMatcher>(grammar, trie, begun);
  };
}

void check_name(const JsonField& name, size_t most) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  const std::string& text = name.string();
  if (text.empty() || text.size() > most || text.find_first_not_of(kLetters) != std::string::npos)
    name.refuse(fmt::format("a name of 1 to {} letters, digits, _ and -", most));
}

}  // namespace

std::string content_text(const JsonField& content) {
  if (!content.present()) return "";
  if (content.is_string()) return content.string();
  if (!content.is_array()) content.refuse("a string or a list of parts");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string type = content[i]["type"].string("text");
    check(type == "text", Code::kInvalidArgument, "{} has the type {}: this model reads text only", content[i].place(),
          content[i]["type"].shown());
    if (i > 0) text += "\n\n";
    text += content[i]["text"].string();
  }
  return text;
}

void set_effort(const JsonField& effort, const JsonField& tools, const ModelInfo& model, ChatOptions& options) {
  if (!effort.present()) {
    if (model.agents_think_most && tools.present() && tools.size() > 0) {
      options.effort = ReasoningEffort::kMax;
    } else if (options.revision == ChatRevision::k0731) {
      options.effort = ReasoningEffort::kHigh;
    }
    return;
  }
  const std::string& name = effort.string();
  using Effort = ReasoningEffort;
  const bool preview = options.revision == ChatRevision::kPreview;
  if (name == "none") {
    options.thinking = ThinkingMode::kChat;
  } else if (name == "minimal" || name == "low") {
    options.effort = preview ? Effort::kHigh : Effort::kLow;
  } else if (name == "medium" || name == "high") {
    options.effort = Effort::kHigh;
  } else if (name == "xhigh") {
    options.effort = preview ? Effort::kMax : Effort::kHigh;
  } else if (name == "max" || name == "ultra") {
    options.effort = Effort::kMax;
  } else {
    effort.refuse("none, minimal, low, medium, high, xhigh, max or ultra");
  }
}

void warn_of_small_context(int64_t context) {
  constexpr int64_t kAdvised = 384 * 1024;
  static std::once_flag said;
  if (context >= kAdvised) return;
  std::call_once(said, [&] {
    log::warn(
        "reasoning of effort max may not fit into a context of {} tokens: {} are advised (--context), or less effort",
        context, kAdvised);
  });
}

SamplerOptions sampler_of(const JsonField& request, const ChatOptions& options, bool tools, const ModelInfo& model) {
  SamplerOptions sampler;
  sampler.temperature = static_cast<float>(request["temperature"].number(0, 2, 1));
  sampler.top_p = static_cast<float>(request["top_p"].number(kTopPRange.low, kTopPRange.high, 1));
  sampler.top_k = static_cast<int32_t>(request["top_k"].whole(kTopKRange.low, kTopKRange.high, 0));
  sampler.min_p = static_cast<float>(request["min_p"].number(kMinPRange.low, kMinPRange.high, 0));
  if (options.thinking == ThinkingMode::kThinking && !model.sample_thinking)
    sampler = {.temperature = 1, .top_p = tools ? 0.95f : 1};
  if (const auto marker = model.tokenizer->find_added("｜DSML｜"); marker && !tools)
    sampler.logit_bias.emplace_back(*marker, kLogitBiasRange.low);
  const JsonField seed = request["seed"];
  sampler.seed = seed.present() ? static_cast<uint64_t>(seed.whole(INT64_MIN, INT64_MAX, 0)) : random_seed();
  return sampler;
}

AnswerFormat answer_format(const JsonField& format, const char* within) {
  static const Json kAnyObject = Json::Object{{"type", "object"}};
  if (!format.present()) return {};
  const std::string& type = format["type"].string();
  if (type == "json_object") return {JsonField(kAnyObject, format.place())};
  if (type == "json_schema") return {(within != nullptr ? format[within] : format)["schema"].object(), true};
  if (type != "text") format["type"].refuse("text, json_object or json_schema");
  return {};
}

void choose_tool(const JsonField& choice, const JsonField& named, Tools& tools) {
  if (choice.is_object()) {
    tools.choice = ToolChoice::kNamed;
    tools.name = named.string();
  } else if (const std::string word = choice.string("auto"); word == "none") {
    tools.choice = ToolChoice::kNone;
  } else if (word == "required") {
    tools.choice = ToolChoice::kAny;
  } else if (word != "auto") {
    choice.refuse("none, auto, required or a function");
  }
}

void check_tool_name(const JsonField& name) { check_name(name, 64); }

void check_user_id(const JsonField& id) {
  if (id.present()) check_name(id, 512);
}

std::vector<std::string> stop_strings(const JsonField& stop) {
  std::vector<std::string> strings;
  if (!stop.present()) return strings;
  if (stop.is_string()) {
    strings.push_back(stop.string());
  } else {
    for (size_t i = 0; i < stop.size(); ++i) strings.push_back(stop[i].string());
  }
  constexpr size_t kMost = 16;
  check(strings.size() <= kMost, Code::kInvalidArgument, "{} has {} strings: {} at most", stop.place(), strings.size(),
        kMost);
  for (const std::string& string : strings)
    check(!string.empty(), Code::kInvalidArgument, "{} has an empty string: every answer would end before it begins",
          stop.place());
  return strings;
}

void ask_chat(const JsonField& request, std::vector<ChatMessage> messages, const Tools& tools,
              const AnswerFormat& format, ChatOptions options, const ModelInfo& model, Ask& ask) {
  const ChatMessage begun = !messages.empty() && messages.back().unfinished ? messages.back() : ChatMessage();
  if (begun.unfinished && begun.reasoning.empty()) options.thinking = ThinkingMode::kChat;
  const bool thinking = options.thinking == ThinkingMode::kThinking;
  const bool reasoned = begun.unfinished && !begun.content.empty();  // so far that only the content goes on
  if (thinking && options.effort == ReasoningEffort::kMax) warn_of_small_context(model.context);
  const bool forced = forces(tools);
  check(!forced || !tools.functions.empty(), Code::kInvalidArgument,
        "tool_choice asks for a call, and there are no tools");
  check(tools.choice != ToolChoice::kNamed ||
            std::ranges::find(tools.rules, tools.name, &ReplyRules::Tool::name) != tools.rules.end(),
        Code::kInvalidArgument, "tool_choice names {}, which is none of the tools", printable(json_string(tools.name)));
  for (const ReplyRules::Tool& tool : tools.rules) check_strict(tool);
  check(!forced || !thinking, Code::kInvalidArgument, "Thinking mode does not support this tool_choice");
  offer(tools.functions, format.told ? format.schema->value().python() : "", messages);
  check(!forced || !begun.unfinished, Code::kInvalidArgument,
        "tool_choice asks for a call, and a prefix goes on as text");
  ask.kind = thinking && !reasoned ? ReplyKind::kThinking : ReplyKind::kChat;
  ask.tools = !tools.functions.empty() && tools.choice != ToolChoice::kNone;
  ask.sampler = sampler_of(request, options, ask.tools, model);
  std::vector<TextPart> prompt = render_chat(messages, options);
  if (begun.unfinished && thinking && !reasoned) prompt.pop_back();  // </think>: the reasoning goes on
  ask.prompt = model.tokenizer->encode(prompt);
  if (forced) {
    std::vector<TextPart> opening = call_opening();
    if (tools.choice == ToolChoice::kNamed) opening.push_back({tools.name + "\">\n", false});
    ask.forced = model.tokenizer->encode(opening);
    ask.prompt.insert(ask.prompt.end(), ask.forced.begin(), ask.forced.end());
  }
  hold(tools, format.schema, begun.unfinished ? model.tokenizer->encode(begun.content, /*added=*/false) : ask.forced,
       model, ask);
}

std::string new_id(std::string_view prefix) {
  constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  thread_local std::mt19937_64 random(random_seed());
  std::uniform_int_distribution<size_t> any(0, kLetters.size() - 1);
  std::string id(prefix);
  for (int i = 0; i < 24; ++i) id += kLetters[any(random)];
  return id;
}

std::string sse(std::string_view data) { return fmt::format("data: {}\n\n", data); }

std::string json(const OrderedJson& value) { return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace); }

}  // namespace v4rt::server
