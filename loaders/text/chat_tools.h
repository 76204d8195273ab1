#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loaders/text/chat_encoding.h"

// How the chat encoding writes tools, calls and answers' schemas.
namespace v4rt {

inline constexpr std::string_view kDsmlToken = "｜DSML｜";  // in the tags of calls
inline constexpr std::string_view kThinkToken = "<think>";
inline constexpr std::string_view kEndThinkToken = "</think>";

class ChatWriter {
 public:
  void control(std::string_view token) { parts_.push_back({std::string(token), true}); }
  void text(std::string_view text) {
    if (!text.empty()) parts_.push_back({std::string(text), false});
  }
  void markup(std::string_view text);  // in which the tokens above are control tokens
  std::vector<TextPart> take() { return std::move(parts_); }

 private:
  std::vector<TextPart> parts_;
};

void write_tools(const std::vector<std::string>& tools, ChatWriter& out);
void write_calls(const std::vector<ToolCall>& calls, ChatWriter& out);
void write_response_format(std::string_view schema, ChatWriter& out);

}  // namespace v4rt
