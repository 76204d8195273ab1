#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/text/tokenizer.h"

namespace v4rt {

// The V4 chat encoding: messages to text and control tokens, for Tokenizer::encode. Only the encoding writes control
// tokens: inside a message they are text, so that a quoted text cannot speak as somebody else. Nothing is trimmed or
// escaped.
enum class ThinkingMode : uint8_t { kChat, kThinking };

// How much to think, in thinking mode only. The text written for it depends on the checkpoint's revision: V4-Flash and
// V4-Pro of April 2026 know kMax; V4-Flash-0731 and V4-Pro-0813 write that same text for kHigh, and a stronger one for
// kMax.
enum class ReasoningEffort : uint8_t { kDefault, kLow, kHigh, kMax };
enum class ChatRevision : uint8_t { kPreview, k0731 };

struct ToolCall {
  std::string id, name;
  std::string arguments;  // the text of a JSON object
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool", "developer", "latest_reminder"
  std::string content;
  std::string reasoning;             // of an assistant,
  std::vector<ToolCall> tool_calls;  // and what it called
  std::string tool_call_id;          // of a tool: the call whose result it is
  // Of a system or developer message: what may be called, an object of JSON each; and the JSON schema of the answer.
  std::vector<std::string> tools;
  std::string response_format;
  std::string task;         // a quick instruction, "action", "query" and so on; user and assistant only
  bool unfinished = false;  // of an assistant: the reply goes on where it stops
};

struct ChatOptions {
  ThinkingMode thinking = ThinkingMode::kChat;
  ReasoningEffort effort = ReasoningEffort::kDefault;
  // In thinking mode without tools, forget the reasoning (and developer messages) before the last question.
  bool drop_thinking = true;
  bool add_bos = true;
  ChatRevision revision = ChatRevision::kPreview;
  bool allow_closed =
      false;  // also render conversations that ask for no answer, because they end in a system message or an answer
};

// Ends with the generation prompt: "<｜Assistant｜>" and "</think>", or "<think>" in thinking mode. Users and tools in
// a row become one turn, in which the results stand in the order of the calls. Throws Error on an unknown role or task,
// an empty developer message, and, unless allow_closed, a conversation that asks for no answer.
std::vector<TextPart> render_chat(const std::vector<ChatMessage>& messages, const ChatOptions& options);

// The same conversation fed turn by turn into one sequence state: text that follows what the sequence already holds.
// first: with BOS and effort. Then the system text if there is one, the user's text and the generation prompt.
// close_previous (ignored in the first turn) writes the end token of the answer before, which the sequence lacks unless
// it was fed.
//
// In chat mode, the turns and the answers between them are render_chat of the conversation so far. In thinking mode the
// sequence keeps what it was fed, old reasoning too: that is render_chat with drop_thinking = false. drop_thinking has
// no effect here.
std::vector<TextPart> render_turn(std::string_view user, std::string_view system, bool first, bool close_previous,
                                  const ChatOptions& options);

// All parts as one string, as DeepSeek's own encoder returns it, for display and comparison. Do not encode it: control
// tokens inside messages would become real ones.
std::string written_out(const std::vector<TextPart>& parts);

// What calls begin with, up to the name of the tool: for a reply that has to be one.
std::vector<TextPart> call_opening();

inline constexpr std::string_view kBosToken = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEosToken = "<｜end▁of▁sentence｜>";

}  // namespace v4rt
