#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/server/api/api.h"
#include "examples/server/api/model_info.h"
#include "graph/grammar/reply_grammar.h"
#include "loaders/text/json_field.h"

// What the chat APIs have in common. All throw Error(kInvalidArgument).
namespace v4rt::server {

// The text of a string, or of a list of text parts, which become paragraphs.
std::string content_text(const JsonField& content);

// How much to think: ThinkingMode and effort from DeepSeek's names of efforts.
void set_effort(const JsonField& effort, const JsonField& tools, const ModelInfo& model, ChatOptions& options);

// Says, the first time, that a context is smaller than DeepSeek advises for reasoning of the most effort.
void warn_of_small_context(int64_t context);

SamplerOptions sampler_of(const JsonField& request, const ChatOptions& options, bool tools, const ModelInfo& model);

// What may be called, and what has to be.
struct Tools {
  enum class Choice : uint8_t { kAuto, kNone, kAny, kNamed };
  std::vector<std::string> functions;   // an object of JSON each,
  std::vector<ReplyRules::Tool> rules;  // and what calls of it are held to
  Choice choice = Choice::kAuto;
  std::string name;  // for kNamed
};

// What an answer's text has to be.
struct AnswerFormat {
  std::optional<JsonField> schema = {};  // JSON of it
  bool told = false;                     // the prompt says so
};
// From an object like OpenAI's response_format, whose schema is in the member `within` of it, or in itself.
AnswerFormat answer_format(const JsonField& format, const char* within = nullptr);

// Completes `ask` from the rest: its prompt, its kind and how it is sampled. A last message that is unfinished is gone
// on with: its reasoning, when it has nothing else, and its content otherwise, without reasoning when it has none.
void ask_chat(const JsonField& request, std::vector<ChatMessage> messages, const Tools& tools,
              const AnswerFormat& format, ChatOptions options, const ModelInfo& model, Ask& ask);

// OpenAI's tool_choice: a word, or an object in which a function is named at `named`.
void choose_tool(const JsonField& choice, const JsonField& named, Tools& tools);
void check_tool_name(const JsonField& name);
// DeepSeek's user_id, where there is one; OpenAI's and Anthropic's own names of users are any text.
void check_user_id(const JsonField& id);
std::vector<std::string> stop_strings(const JsonField& stop);
// "chatcmpl-" and 24 letters and digits.
std::string new_id(std::string_view prefix);

// One event of a stream of server-sent events.
std::string sse(std::string_view data);
std::string json(const OrderedJson& value);  // on one line; what is not UTF-8 becomes U+FFFD

}  // namespace v4rt::server
