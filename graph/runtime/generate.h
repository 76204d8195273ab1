#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "graph/runtime/sampler.h"
#include "graph/runtime/session.h"

namespace v4rt {

struct GenerateOptions {
  int64_t max_tokens = 128;
  int draft = 0;  // tokens to guess before each step, at most ModelOptions::draft; changes no token, only the time
  std::vector<int32_t> end_tokens = {};  // stop at any of them; it is neither passed to on_token nor counted
};

// kMaxTokens: the text was cut; one whose next token would have been an end token was not.
enum class StopReason : uint8_t { kEndToken, kMaxTokens, kContextFull, kCancelled };

struct GenerateResult {
  StopReason stop = StopReason::kMaxTokens;
  int64_t prompt_tokens = 0, tokens = 0;
  int64_t cached_tokens = 0;          // of the prompt, that a cache held
  int64_t drafted = 0, accepted = 0;  // guesses made, and those that were right
  double prefill_seconds = 0, decode_seconds = 0;
  bool end_token_fed = false;  // always false: the end token is not part of the sequence state
};

// Feeds `prompt`, then samples until it stops; on_token(id) returns false to cancel. Every token passed to on_token is
// in the session's state when this returns, so that a conversation can go on.
GenerateResult generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
                        Sampler& sampler, const std::function<bool(int32_t)>& on_token, int slot = 0);

}  // namespace v4rt
