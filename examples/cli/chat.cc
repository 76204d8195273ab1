#include <fmt/format.h>

#include <algorithm>

#include "examples/cli/command.h"
#include "examples/cli/conversation.h"
#include "examples/cli/input.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/sampling_options.h"
#include "examples/cli/terminal.h"
#include "loaders/text/utf8.h"

namespace v4rt::cli {
namespace {

constexpr int64_t kContext = 8192;  // positions, when --context does not say

constexpr std::string_view kHelp =
    "/reset      start over\n"
    "/think on   reason before answering; /think off answers at once\n"
    "/exit       end; so does Ctrl-D\n"
    "Ctrl-C      stops an answer\n"
    "Any other line is a message.\n";

struct ChatArguments {
  ModelArguments model;
  SamplingArguments sampling;
  ConversationOptions conversation;
  std::string thinking = "off";
};

// Answers go to standard output; reasoning, dimmed, to standard error.
void show(Conversation::Part part, std::string_view text) {
  if (text.empty()) return;
  if (part == Conversation::Part::kAnswer) return print(text);
  say(messages_are_terminal() ? fmt::format("\033[2m{}\033[0m", text) : std::string(text));
}

// The note after an answer that was cut; empty if it ended by itself.
std::string cut(StopReason stop, const Conversation& conversation, bool only_reasoned) {
  const std::string_view what = only_reasoned ? "the reasoning" : "the answer";
  const std::string_view loss = only_reasoned ? ", before an answer" : "";
  if (stop == StopReason::kMaxTokens)
    return fmt::format("{} was cut at --max-tokens {}{}\n", what, conversation.max_tokens(), loss);
  if (stop == StopReason::kContextFull)
    return fmt::format("{} was cut{}: the context of {} positions is full; /reset starts over, --context holds more\n",
                       what, loss, conversation.context());
  return {};
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
  InterruptGuard::clear();  // Ctrl-C up to here was meant for this answer
  const bool only_reasoned = reasoned && !answered;
  print("\n");
  if (only_reasoned) say("\n");
  say(cut(result.stop, conversation, only_reasoned));
  const double seconds = result.decode_seconds;
  const double speed = seconds > 0 ? static_cast<double>(result.tokens) / seconds : 0;
  if (messages_are_terminal())
    say(fmt::format("\033[2m[read {}, wrote {} tokens, {:.1f} tokens/s{}]\033[0m\n", result.prompt_tokens,
                    result.tokens, speed, result.stop == StopReason::kCancelled ? "; stopped" : ""));
}

enum class Obeyed { kNoCommand, kDone, kExit };

// Only exact commands are obeyed; any other line is a message, even if it begins with a slash.
Obeyed obey(Conversation& conversation, std::string_view line) {
  line = line.substr(0, line.find_last_not_of(" \t") + 1);
  if (line == "/exit" || line == "/quit") return Obeyed::kExit;
  if (line == "/reset") {
    conversation.start_over();
    say("The conversation starts over.\n");
  } else if (line == "/think on" || line == "/think off") {
    conversation.think(line == "/think on");
  } else if (line == "/help") {
    say(kHelp);
  } else {
    return Obeyed::kNoCommand;
  }
  return Obeyed::kDone;
}

// Returns whether to go on.
bool answer(Conversation& conversation, const std::string& message) {
  try {
    reply_to(conversation, message);
    return true;
  } catch (const Error& e) {
    if (e.code() != Code::kInvalidArgument) throw;
    say(escaped_lines(e.what()) + "\n");
    return input_is_terminal();
  }
}

int converse(Conversation& conversation) {
  const bool typed = input_is_terminal();
  LineReader lines;
  std::string line;
  if (typed) say("Write a message; /help tells what else there is.\n");
  while (true) {
    if (typed) say("> ");
    const LineReader::Result result = lines.next(line);
    if (result == LineReader::Result::kInterrupted) {
      if (!typed) return InterruptGuard::status();
      InterruptGuard::clear();
      say("\n/exit or Ctrl-D ends the program.\n");
      continue;
    }
    if (result == LineReader::Result::kEnd) break;
    if (line.empty()) continue;
    const Obeyed obeyed = obey(conversation, line);
    if (obeyed == Obeyed::kExit) return kSuccess;
    if (obeyed == Obeyed::kNoCommand && !answer(conversation, line)) return kFailure;
  }
  if (typed) say("\n");
  return kSuccess;
}

int chat(const ChatArguments& arguments) {
  check_output();
  const Checkpoint checkpoint = open_files(arguments.model);
  const auto tokenizer = open_tokenizer(checkpoint);
  ConversationOptions options = arguments.conversation;
  options.chat.thinking = arguments.thinking == "off" ? ThinkingMode::kChat : ThinkingMode::kThinking;
  options.chat.effort = arguments.thinking == "max" ? ReasoningEffort::kMax : ReasoningEffort::kDefault;
  options.sampling = sampler_options(arguments.sampling, checkpoint);
  options.stop = arguments.sampling.stop;
  const int64_t context = std::min(kContext, checkpoint.weights->config().max_position);
  const auto model = [&] {
    const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);  // a weight cache may be written
    return open_model(checkpoint, arguments.model, arguments.model.context > 0 ? 1 : context);
  }();
  Conversation conversation(model, tokenizer, options);
  const InterruptGuard interrupt(InterruptGuard::Mode::kAlways);
  return converse(conversation);
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
      ->transform(between(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  add_sampling(*command, a.sampling);
  add_draft(*command, a.model);
  add_options(*command, a.model);
  command->callback([arguments, &action] { action = [arguments] { return chat(*arguments); }; });
}

}  // namespace v4rt::cli
