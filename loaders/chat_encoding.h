#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// The V4 chat encoding (spec chat-encoding.md sections 2 to 5): text with control tokens written out.
enum class ThinkingMode : uint8_t { kChat, kThinking };
enum class ReasoningEffort : uint8_t { kDefault, kMax };  // kMax writes the v4-preview effort prefix

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "developer", "latest_reminder"
  std::string content;
  std::string reasoning;  // assistant only
};

struct ChatOptions {
  ThinkingMode thinking = ThinkingMode::kChat;
  ReasoningEffort effort = ReasoningEffort::kDefault;
  bool drop_thinking = true;
  bool add_bos = true;
};

// Ends with the generation prompt. Throws Error on an unknown role or a conversation that cannot be answered.
std::string render_chat(const std::vector<ChatMessage>& messages, const ChatOptions& options);

// The same conversation fed turn by turn into one sequence state: text that follows what the sequence already holds.
// first: with BOS, effort and system text. The previous answer's end token is added when the model did not write it itself.
std::string render_turn(std::string_view user, std::string_view system, bool first, bool close_previous,
                        const ChatOptions& options);

inline constexpr std::string_view kBosToken = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEosToken = "<｜end▁of▁sentence｜>";

}  // namespace v4rt
