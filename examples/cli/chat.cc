#include <fmt/format.h>

#include "examples/cli/command.h"
#include "examples/cli/conversation.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/terminal.h"

namespace v4rt::cli {
namespace {

constexpr int64_t kContext = 8192;  // positions, when --context does not say

constexpr std::string_view kHelp =
    "/reset      start over\n"
    "/think on   reason before answering; /think off answers at once\n"
    "/exit       end; so does Ctrl-D\n"
    "Ctrl-C      stops an answer\n";

struct ChatArguments {
  ModelArguments model;
  ConversationOptions conversation;
  std::string thinking = "off";
};

// Answers go to standard output; reasoning, dimmed, to standard error.
void show(Conversation::Part part, std::string_view text) {
  if (text.empty()) return;
  if (part == Conversation::Part::kAnswer) return print(text);
  say(messages_are_terminal() ? fmt::format("\033[2m{}\033[0m", text) : std::string(text));
}

void reply_to(Conversation& conversation, const std::string& message) {
  Progress progress("reading");
  conversation.on_progress([&](int64_t done, int64_t total) { progress.update(done, total); });
  bool reasoned = false, answered = false;
  const GenerateResult result = conversation.ask(
      message,
      [&](Conversation::Part part, std::string_view text) {
        progress.clear();
        if (part == Conversation::Part::kReasoning) reasoned = reasoned || !text.empty();
        if (part == Conversation::Part::kAnswer && !answered && !text.empty()) {
          if (reasoned) say("\n");
          answered = true;
        }
        show(part, text);
      },
      InterruptGuard::raised);
  print("\n");
  const double seconds = result.decode_seconds;
  const double speed = seconds > 0 ? static_cast<double>(result.tokens) / seconds : 0;
  if (messages_are_terminal())
    say(fmt::format("\033[2m[read {}, wrote {} tokens, {:.1f} tokens/s{}]\033[0m\n", result.prompt_tokens,
                    result.tokens, speed,
                    result.stop == StopReason::kEndToken      ? ""
                    : result.stop == StopReason::kCancelled   ? "; stopped"
                    : result.stop == StopReason::kContextFull ? "; the context is full"
                                                              : "; cut at --max-tokens"));
}

// A line that begins with / is for the program. Answers whether to go on.
bool obey(Conversation& conversation, const std::string& line) {
  if (line == "/exit" || line == "/quit") return false;
  if (line == "/reset") {
    conversation.start_over();
    say("The conversation starts over.\n");
  } else if (line == "/think on" || line == "/think off") {
    conversation.think(line == "/think on");
  } else {
    say(line == "/help" ? std::string(kHelp) : fmt::format("{}: no such command\n{}", line, kHelp));
  }
  return true;
}

int chat(const ChatArguments& arguments) {
  const Checkpoint checkpoint = open_files(arguments.model);
  const auto tokenizer = open_tokenizer(checkpoint);
  const int64_t context = std::min(kContext, checkpoint.weights->config().max_position);
  const auto model = open_model(checkpoint, arguments.model, arguments.model.context > 0 ? 1 : context);
  ConversationOptions options = arguments.conversation;
  options.chat.thinking = arguments.thinking == "off" ? ThinkingMode::kChat : ThinkingMode::kThinking;
  options.chat.effort = arguments.thinking == "max" ? ReasoningEffort::kMax : ReasoningEffort::kDefault;
  Conversation conversation(model, tokenizer, options);

  const InterruptGuard interrupt(InterruptGuard::Mode::kAlways);
  if (input_is_terminal()) say("Write a message; /help tells what else there is.\n");
  while (true) {
    if (input_is_terminal()) say("> ");
    InterruptGuard::clear();
    const std::optional<std::string> line = read_line();
    if (!line && InterruptGuard::raised()) {
      say("\n/exit or Ctrl-D ends the program.\n");
      continue;
    }
    if (!line) break;
    if (line->empty()) continue;
    if (line->front() == '/') {
      if (!obey(conversation, *line)) return kSuccess;
      continue;
    }
    try {
      reply_to(conversation, *line);
    } catch (const Error& e) {
      if (e.code() != Code::kInvalidArgument) throw;
      say(fmt::format("{}\n", e.what()));
      if (!input_is_terminal()) return kFailure;
    }
  }
  if (input_is_terminal()) say("\n");
  return kSuccess;
}

}  // namespace

void add_chat(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ChatArguments>();
  ChatArguments& a = *arguments;
  CLI::App* command = app.add_subcommand(
      "chat", "Hold a conversation in the V4 chat encoding: one line of input a message, answers to standard output.");
  add_model(*command, a.model);
  command->add_option("--system", a.conversation.system, "What the model is told before the conversation");
  command->add_option("--thinking", a.thinking, "off, on, or max: whether it reasons before it answers")
      ->check(CLI::IsMember({"off", "on", "max"}))
      ->capture_default_str();
  command->add_option("-n,--max-tokens", a.conversation.max_tokens, "Tokens of an answer at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  add_sampling(*command, a.conversation.sampling);
  add_options(*command, a.model);
  command->callback([arguments, &action] { action = [arguments] { return chat(*arguments); }; });
}

}  // namespace v4rt::cli
