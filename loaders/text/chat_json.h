#pragma once

#include <string>
#include <vector>

#include "loaders/text/chat_encoding.h"
#include "loaders/text/json_field.h"

// What OpenAI's API writes in JSON, for the chat encoding. All throw Error(kInvalidArgument).
namespace v4rt {

// A message's "tool_calls"; its arguments may be a text, or the object itself.
std::vector<ToolCall> read_tool_calls(const JsonField& calls);

// The function of one of "tools", as ChatMessage::tools has it.
std::string read_tool(const JsonField& tool);

// Puts tools, and the schema of the answer, where the encoding expects them: at the first system message, which is made
// where there is none.
void offer(std::vector<std::string> tools, std::string response_format, std::vector<ChatMessage>& messages);

}  // namespace v4rt
