#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/runtime/generate.h"
#include "graph/runtime/session.h"
#include "loaders/text/chat_encoding.h"
#include "loaders/text/tokenizer.h"

namespace v4rt::cli {

struct ConversationOptions {
  std::string system;
  ChatOptions chat;
  SamplerOptions sampling;
  std::vector<std::string> stop;  // each ends a reply, or its reasoning, before it
  int64_t max_tokens = 1024;      // of an answer, its reasoning included
};

// A conversation whose history is the sequence state: each turn reads only what is new. The chat encoding leaves the
// reasoning of an answer out of the history, so after a thinking turn the state goes back to before the reasoning, and
// the next turn reads the answer again.
class Conversation {
 public:
  enum class Part { kReasoning, kAnswer };
  using TextFn = std::function<void(Part part, std::string_view text)>;

  Conversation(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer,
               ConversationOptions options);

  // Reads the message and passes on the reply as it is made; asks `stopped` between tokens and between chunks. Throws
  // Error, with nothing changed, when the message does not fit the context.
  GenerateResult ask(std::string_view message, const TextFn& text, const std::function<bool()>& stopped);

  void start_over();
  void think(bool on) { options_.chat.thinking = on ? ThinkingMode::kThinking : ThinkingMode::kChat; }
  int64_t max_tokens() const { return options_.max_tokens; }
  int64_t context() const { return session_.model().options().context; }
  bool thinking() const { return options_.chat.thinking == ThinkingMode::kThinking; }
  void on_progress(std::function<void(int64_t done, int64_t total)> fn) { progress_ = std::move(fn); }

 private:
  struct Reply;
  GenerateResult answer(std::span<const int32_t> prompt, Reply& reply, const std::function<bool()>& stopped);

  ConversationOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Session session_;
  Sampler sampler_;
  int32_t think_, end_think_;
  std::vector<int32_t> unread_;  // in the conversation, but not yet in the state
  bool first_ = true;
  std::function<void(int64_t, int64_t)> progress_;
};

}  // namespace v4rt::cli
