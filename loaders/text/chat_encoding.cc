#include "loaders/text/chat_encoding.h"

#include <algorithm>
#include <optional>

#include "loaders/files/json_file.h"
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

class Writer {
 public:
  void control(std::string_view token) { parts_.push_back({std::string(token), true}); }
  void text(std::string_view text) {
    if (!text.empty()) parts_.push_back({std::string(text), false});
  }
  std::vector<TextPart> take() { return std::move(parts_); }

 private:
  std::vector<TextPart> parts_;
};

void write_opening(const ChatOptions& options, Writer& out) {
  if (options.add_bos) out.control(kBosToken);
  out.text(effort_text(options));
}

bool asks(const ChatMessage& message) { return message.role == "user" || message.role == "developer"; }

void check_message(const ChatMessage& message, size_t index) {
  static constexpr std::string_view kRoles[] = {"system", "user", "assistant", "developer", "latest_reminder"};
  check(message.role != "tool", Code::kUnsupported, "message {}: role \"tool\": tool calls are not supported", index);
  check(std::find(std::begin(kRoles), std::end(kRoles), message.role) != std::end(kRoles), Code::kInvalidArgument,
        "message {}: unknown role \"{}\"; known are system, user, assistant, developer and latest_reminder", index,
        printable(message.role));
  check(message.role != "developer" || !message.content.empty(), Code::kInvalidArgument,
        "message {}: a developer message must not be empty", index);
}

// Several user messages in a row become paragraphs of one.
std::vector<ChatMessage> merge_users(const std::vector<ChatMessage>& messages) {
  std::vector<ChatMessage> merged;
  for (const ChatMessage& message : messages) {
    if (message.role == "user" && !merged.empty() && merged.back().role == "user") {
      merged.back().content += "\n\n" + message.content;
    } else {
      merged.push_back(message);
    }
  }
  return merged;
}

// The index of the last question; empty if there is none.
std::optional<size_t> last_question(const std::vector<ChatMessage>& messages) {
  const auto last = std::find_if(messages.rbegin(), messages.rend(), asks);
  if (last == messages.rend()) return std::nullopt;
  return static_cast<size_t>(messages.rend() - last) - 1;
}

// A conversation, and the index from which on its reasoning is shown (0: everywhere).
struct Conversation {
  std::vector<ChatMessage> messages;
  size_t shows_from = 0;
};

Conversation prepare(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  Conversation chat{merge_users(messages)};
  if (options.thinking == ThinkingMode::kChat || !options.drop_thinking) return chat;
  const auto last = last_question(chat.messages);
  if (!last) return chat;
  const auto end = chat.messages.begin() + static_cast<ptrdiff_t>(*last);
  chat.messages.erase(
      std::remove_if(chat.messages.begin(), end, [](const ChatMessage& m) { return m.role == "developer"; }), end);
  chat.shows_from = last_question(chat.messages).value();
  return chat;
}

void write_message(const ChatMessage& message, bool shows_reasoning, Writer& out) {
  if (message.role == "latest_reminder") out.control(kReminder);
  if (asks(message)) out.control(kUser);
  const bool answers = message.role == "assistant";
  if (answers && shows_reasoning) {
    out.text(message.reasoning);
    out.control(kEndThink);
  }
  out.text(message.content);
  if (answers) out.control(kEosToken);
}

// The tokens that make the model answer.
void write_answer_prompt(bool thinks, Writer& out) {
  out.control(kAssistant);
  out.control(thinks ? kThink : kEndThink);
}

// A header is written after a question that is followed by an answer or a reminder; an answer after that reminder then
// gets no header. The reference encoder does the same.
bool has_header(const std::vector<ChatMessage>& messages, size_t i) {
  if (!asks(messages[i])) return false;
  return i + 1 == messages.size() || messages[i + 1].role == "assistant" || messages[i + 1].role == "latest_reminder";
}

// Whether the text ends in a header, or in reminders right after one.
bool is_open(const std::vector<ChatMessage>& messages) {
  size_t i = messages.size();
  while (i > 0 && messages[i - 1].role == "latest_reminder") --i;
  return i > 0 && asks(messages[i - 1]);
}

}  // namespace

std::vector<TextPart> render_chat(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  for (size_t i = 0; i < messages.size(); ++i) check_message(messages[i], i);
  const Conversation chat = prepare(messages, options);
  check(options.allow_closed || is_open(chat.messages), Code::kInvalidArgument,
        "the conversation asks for no answer: it {}; the last message must come from a user",
        messages.empty() ? "is empty" : fmt::format("ends with role \"{}\"", messages.back().role));

  const bool thinking = options.thinking == ThinkingMode::kThinking;
  Writer out;
  write_opening(options, out);
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    const bool thinks = thinking && i >= chat.shows_from;
    write_message(chat.messages[i], thinks, out);
    if (has_header(chat.messages, i)) write_answer_prompt(thinks, out);
  }
  return out.take();
}

std::vector<TextPart> render_turn(std::string_view user, std::string_view system, bool first, bool close_previous,
                                  const ChatOptions& options) {
  Writer out;
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
