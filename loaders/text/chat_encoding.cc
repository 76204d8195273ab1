#include "loaders/text/chat_encoding.h"

#include <algorithm>
#include <optional>

#include "loaders/files/json_file.h"
#include "loaders/text/chat_tools.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr std::string_view kUser = "<｜User｜>";
constexpr std::string_view kAssistant = "<｜Assistant｜>";
constexpr std::string_view kReminder = "<｜latest_reminder｜>";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";

constexpr std::string_view kMaximumEffort =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, "
    "rigorously "
    "stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, considered "
    "alternative, and "
    "rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n";

constexpr std::string_view kBeyondMaximumEffort =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the "
    "problem "
    "into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause "
    "rather than any "
    "surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles and are certain "
    "that no "
    "assumption remains unchecked and no error remains undiscovered.\n\n";

std::string_view effort_text(const ChatOptions& options) {
  if (options.thinking == ThinkingMode::kChat) return "";
  const bool max = options.effort == ReasoningEffort::kMax;
  if (options.revision == ChatRevision::kPreview) return max ? kMaximumEffort : "";
  if (options.effort == ReasoningEffort::kHigh) return kMaximumEffort;
  return max ? kBeyondMaximumEffort : "";
}

void write_opening(const ChatOptions& options, ChatWriter& out) {
  if (options.add_bos) out.control(kBosToken);
  out.text(effort_text(options));
}

// A user's turn consists of blocks: what was said, and results of calls. Any other is a message as it came.
struct Block {
  bool result = false;
  std::string_view text, call_id;
};

struct Turn {
  std::string_view role;
  const ChatMessage* message = nullptr;  // of a user: the first one, null when tools began
  std::vector<Block> blocks = {};

  bool asks() const { return role == "user" || role == "developer"; }
  std::string_view task() const { return message == nullptr ? std::string_view() : message->task; }
  bool unfinished() const { return message != nullptr && message->unfinished; }
};

std::string_view task_token(std::string_view task) {
  static constexpr std::pair<std::string_view, std::string_view> kTasks[] = {
      {"action", "<｜action｜>"}, {"query", "<｜query｜>"},       {"authority", "<｜authority｜>"},
      {"domain", "<｜domain｜>"}, {"read_url", "<｜read_url｜>"}, {"title", "<｜title｜>"}};
  for (const auto& [name, token] : kTasks)
    if (name == task) return token;
  fail(Code::kInvalidArgument, "unknown task \"{}\"; known are action, query, authority, domain, read_url and title",
       printable(task));
}

void check_message(const ChatMessage& message, size_t index) {
  static constexpr std::string_view kRoles[] = {"system", "user", "assistant", "tool", "developer", "latest_reminder"};
  check(std::find(std::begin(kRoles), std::end(kRoles), message.role) != std::end(kRoles), Code::kInvalidArgument,
        "message {}: unknown role \"{}\"; known are system, user, assistant, tool, developer and latest_reminder",
        index, printable(message.role));
  check(message.role != "developer" || !message.content.empty(), Code::kInvalidArgument,
        "message {}: a developer message must not be empty", index);
}

// Users and tools in a row become one turn of a user. One with a task is closed to what users say next.
std::vector<Turn> merge(const std::vector<ChatMessage>& messages) {
  std::vector<Turn> turns;
  for (const ChatMessage& message : messages) {
    const bool result = message.role == "tool";
    if (!result && message.role != "user") {
      turns.push_back({message.role, &message});
      continue;
    }
    const bool open = !turns.empty() && turns.back().role == "user" && (result || turns.back().task().empty());
    if (!open) turns.push_back({"user", result ? nullptr : &message});
    turns.back().blocks.push_back({result, message.content, message.tool_call_id});
  }
  return turns;
}

// The results of a turn in the order of the last calls before it; text keeps its place.
void sort_results(std::vector<Turn>& turns) {
  const std::vector<ToolCall>* calls = nullptr;
  for (Turn& turn : turns) {
    if (turn.role == "assistant" && !turn.message->tool_calls.empty()) calls = &turn.message->tool_calls;
    if (calls == nullptr) continue;
    const auto place = [&](const Block& block) {
      const auto call =
          std::find_if(calls->begin(), calls->end(), [&](const ToolCall& c) { return c.id == block.call_id; });
      return call == calls->end() ? 0 : call - calls->begin();
    };
    std::vector<Block> results;
    for (const Block& block : turn.blocks)
      if (block.result) results.push_back(block);
    std::stable_sort(results.begin(), results.end(),
                     [&](const Block& a, const Block& b) { return place(a) < place(b); });
    auto next = results.begin();
    for (Block& block : turn.blocks)
      if (block.result) block = *next++;
  }
}

// The index of the last question; empty if there is none.
std::optional<size_t> last_question(const std::vector<Turn>& turns) {
  const auto last = std::find_if(turns.rbegin(), turns.rend(), [](const Turn& turn) { return turn.asks(); });
  if (last == turns.rend()) return std::nullopt;
  return static_cast<size_t>(turns.rend() - last) - 1;
}

// A conversation, and the index from which on its reasoning is shown (0: everywhere).
struct Conversation {
  std::vector<Turn> turns;
  size_t shows_from = 0;
};

Conversation prepare(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  Conversation chat{merge(messages)};
  sort_results(chat.turns);
  const bool tools = std::any_of(chat.turns.begin(), chat.turns.end(),
                                 [](const Turn& turn) { return turn.role != "user" && !turn.message->tools.empty(); });
  if (options.thinking == ThinkingMode::kChat || !options.drop_thinking || tools) return chat;
  const auto last = last_question(chat.turns);
  if (!last) return chat;
  const auto end = chat.turns.begin() + static_cast<ptrdiff_t>(*last);
  chat.turns.erase(std::remove_if(chat.turns.begin(), end, [](const Turn& turn) { return turn.role == "developer"; }),
                   end);
  chat.shows_from = last_question(chat.turns).value();
  return chat;
}

void write_user(const std::vector<Block>& blocks, ChatWriter& out) {
  out.control(kUser);
  std::string_view separator;
  for (const Block& block : blocks) {
    out.text(separator);
    if (block.result) out.text("<tool_result>");
    out.text(block.text);
    if (block.result) out.text("</tool_result>");
    separator = "\n\n";
  }
}

void write_turn(const Turn& turn, bool shows_reasoning, ChatWriter& out) {
  if (turn.role == "user") return write_user(turn.blocks, out);
  const ChatMessage& message = *turn.message;
  if (turn.role == "latest_reminder") out.control(kReminder);
  if (turn.role == "developer") out.control(kUser);
  const bool answers = turn.role == "assistant";
  if (answers && shows_reasoning) {
    out.text(message.reasoning);
    out.control(kEndThink);
  }
  out.text(message.content);
  if (answers) {
    write_calls(message.tool_calls, out);
    if (!message.unfinished) out.control(kEosToken);
  } else {
    if (!message.tools.empty()) write_tools(message.tools, out);
    if (!message.response_format.empty()) write_response_format(message.response_format, out);
  }
}

// The tokens that make the model answer.
void write_answer_prompt(bool thinks, ChatWriter& out) {
  out.control(kAssistant);
  out.control(thinks ? kThink : kEndThink);
}

// What comes between a turn and an answer. A reminder after a question gets it too, and an answer after that reminder
// then does not. The reference encoder does the same.
void write_transition(const Turn& turn, bool thinking, bool shows_reasoning, ChatWriter& out) {
  if (turn.task().empty()) {
    if (turn.asks()) write_answer_prompt(shows_reasoning, out);
    return;
  }
  if (turn.task() == "action") write_answer_prompt(thinking, out);
  out.control(task_token(turn.task()));
}

bool has_transition(const std::vector<Turn>& turns, size_t i) {
  return i + 1 == turns.size() || turns[i + 1].role == "assistant" || turns[i + 1].role == "latest_reminder";
}

// Whether the text ends where an answer begins or goes on, or in reminders right after that.
bool is_open(const std::vector<Turn>& turns) {
  size_t i = turns.size();
  while (i > 0 && turns[i - 1].role == "latest_reminder") --i;
  return i > 0 &&
         (turns[i - 1].asks() || !turns[i - 1].task().empty() || (i == turns.size() && turns[i - 1].unfinished()));
}

}  // namespace

std::vector<TextPart> render_chat(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  for (size_t i = 0; i < messages.size(); ++i) check_message(messages[i], i);
  const Conversation chat = prepare(messages, options);
  check(options.allow_closed || is_open(chat.turns), Code::kInvalidArgument,
        "the conversation asks for no answer: it {}; the last message must come from a user",
        messages.empty() ? "is empty" : fmt::format("ends with role \"{}\"", messages.back().role));

  const bool thinking = options.thinking == ThinkingMode::kThinking;
  ChatWriter out;
  write_opening(options, out);
  for (size_t i = 0; i < chat.turns.size(); ++i) {
    const bool thinks = thinking && i >= chat.shows_from;
    const bool after_task = i > 0 && !chat.turns[i - 1].task().empty();
    write_turn(chat.turns[i], thinks && !after_task, out);
    if (has_transition(chat.turns, i)) write_transition(chat.turns[i], thinking, thinks, out);
  }
  return out.take();
}

std::vector<TextPart> render_turn(std::string_view user, std::string_view system, bool first, bool close_previous,
                                  const ChatOptions& options) {
  ChatWriter out;
  if (first) {
    write_opening(options, out);
  } else if (close_previous) {
    out.control(kEosToken);
  }
  out.text(system);
  out.control(kUser);
  out.text(user);
  write_answer_prompt(options.thinking == ThinkingMode::kThinking, out);
  return out.take();
}

std::string written_out(const std::vector<TextPart>& parts) {
  std::string text;
  for (const TextPart& part : parts) text += part.text;
  return text;
}

}  // namespace v4rt
