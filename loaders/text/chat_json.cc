#include "loaders/text/chat_json.h"

#include <algorithm>

namespace v4rt {

std::vector<ToolCall> read_tool_calls(const JsonField& calls) {
  std::vector<ToolCall> read;
  for (size_t i = 0; calls.present() && i < calls.size(); ++i) {
    const JsonField function = calls[i]["function"], arguments = function["arguments"];
    read.push_back({calls[i]["id"].string(""), function["name"].string(),
                    arguments.is_object() ? arguments.value().python() : arguments.string("")});
  }
  return read;
}

std::string read_tool(const JsonField& tool) { return tool["function"].object().value().python(); }

void offer(std::vector<std::string> tools, std::string response_format, std::vector<ChatMessage>& messages) {
  if (tools.empty() && response_format.empty()) return;
  auto system = std::ranges::find(messages, "system", &ChatMessage::role);
  if (system == messages.end()) system = messages.insert(messages.begin(), {.role = "system"});
  system->tools = std::move(tools);
  system->response_format = std::move(response_format);
}

}  // namespace v4rt
