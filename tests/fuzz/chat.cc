// A conversation: a line of options, then a message a line, its role, content and reasoning between tabs. Options are
// letters: t thinking, k keeps reasoning, n no BOS, r the later revision, c may be closed, l, h, m effort.

#include <algorithm>

#include "loaders/text/chat_encoding.h"
#include "tests/fuzz/target.h"

namespace v4rt::fuzz {
namespace {

// The part before `separator`; removes both from `rest`.
std::string_view cut(std::string_view& rest, char separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

ChatOptions options_of(std::string_view letters) {
  const auto has = [&](char c) { return letters.find(c) != std::string_view::npos; };
  ChatOptions options;
  if (has('t')) options.thinking = ThinkingMode::kThinking;
  if (has('r')) options.revision = ChatRevision::k0731;
  options.drop_thinking = !has('k');
  options.add_bos = !has('n');
  options.allow_closed = has('c');
  options.effort = has('m')   ? ReasoningEffort::kMax
                   : has('h') ? ReasoningEffort::kHigh
                   : has('l') ? ReasoningEffort::kLow
                              : ReasoningEffort::kDefault;
  return options;
}

// A system text, then questions and answers in turn, the last one a question.
bool is_plain(const std::vector<ChatMessage>& messages) {
  const size_t first = !messages.empty() && messages.front().role == "system" ? 1 : 0;
  for (size_t i = first; i < messages.size(); ++i) {
    if (messages[i].role != ((i - first) % 2 == 0 ? "user" : "assistant")) return false;
  }
  return !messages.empty() && messages.back().role == "user";
}

// Such a conversation, fed turn by turn.
std::string fed(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  const bool thinking = options.thinking == ThinkingMode::kThinking;
  const bool has_system = messages.front().role == "system";
  std::string text;
  for (size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "user") {
      const bool first = text.empty();
      const std::string_view system = first && has_system ? std::string_view(messages.front().content) : "";
      text += written_out(render_turn(message.content, system, first, !first, options));
    } else {
      text += (thinking ? message.reasoning + "</think>" : "") + message.content;
    }
  }
  return text;
}

}  // namespace

void read(std::string_view input) {
  const ChatOptions options = options_of(cut(input, '\n'));
  std::vector<ChatMessage> messages;
  while (!input.empty()) {
    std::string_view line = cut(input, '\n');
    const std::string role(cut(line, '\t')), content(cut(line, '\t'));
    messages.push_back({role, content, std::string(line)});
  }
  const std::string text = written_out(render_chat(messages, options));
  require(!options.add_bos || text.starts_with(kBosToken), "no begin token");
  if (!is_plain(messages)) return;
  if (options.thinking == ThinkingMode::kThinking && options.drop_thinking) return;  // turns keep what they were fed
  require(text == fed(messages, options), "turns that are not the conversation");
}

}  // namespace v4rt::fuzz
