#include "graph/runtime/generate.h"

#include <algorithm>
#include <chrono>

namespace v4rt {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

GenerateResult generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
                        Sampler& sampler, const std::function<bool(int32_t)>& on_token, int slot) {
  GenerateResult result{.prompt_tokens = static_cast<int64_t>(prompt.size())};
  const auto stopped = [&](StopReason reason) {
    result.stop = reason;
    return result;
  };
  const auto ends = [&](int32_t id) {
    return std::find(options.end_tokens.begin(), options.end_tokens.end(), id) != options.end_tokens.end();
  };
  auto start = std::chrono::steady_clock::now();
  std::span<const float> logits = session.feed(prompt, slot);
  result.prefill_seconds = seconds_since(start);
  sampler.begin(prompt);
  if (logits.empty()) return stopped(StopReason::kCancelled);

  start = std::chrono::steady_clock::now();
  // What was fed last, of it `row` is the last token that is certain, and the logits after each. Those that follow are
  // guesses: the sampler decides, in the order and with the draws that it would without them.
  std::vector<int32_t> fed(1);
  size_t row = 0;
  const size_t vocab = logits.size();
  const auto drop_guesses = [&] {
    session.rewind(static_cast<int64_t>(fed.size() - 1 - row), slot);
    fed.resize(row + 1);
  };
  // Who throws leaves no guesses behind.
  const auto careful = [&](const auto& call) {
    try {
      return call();
    } catch (...) {
      drop_guesses();
      throw;
    }
  };
  const auto last = [&] { return logits.subspan(row * vocab, vocab); };
  const int64_t context = session.model().options().context;
  while (result.tokens < options.max_tokens) {
    const int32_t id = careful([&] { return sampler.sample(last()); });
    const bool guessed = row + 1 < fed.size() && fed[row + 1] == id;
    if (!guessed || ends(id)) drop_guesses();
    if (ends(id)) return stopped(StopReason::kEndToken);
    if (!guessed && session.position(slot) == context) return stopped(StopReason::kContextFull);
    const bool go_on = careful([&] { return !on_token || on_token(id); });
    if (guessed) {
      ++row;
      ++result.accepted;
    } else {
      fed.assign(1, id);
      row = 0;
      const int64_t room = std::min(options.max_tokens - result.tokens, context - session.position(slot)) - 1;
      const int n = go_on ? static_cast<int>(std::min<int64_t>(options.draft, room)) : 0;
      if (n > 0) {
        const Session::DraftItem item{slot, id};
        const std::span<const int32_t> guesses = session.draft({&item, 1}, n);
        for (const int32_t guess : guesses.first(sampler.possible(guesses)))
          if (guess >= 0) fed.push_back(guess);
        result.drafted += static_cast<int64_t>(fed.size()) - 1;
      }
      const BatchItem item{slot, fed};
      logits = session.feed_batch({&item, 1}, fed.size() > 1 ? LogitsOf::kAllRows : LogitsOf::kLastRows);
    }
    ++result.tokens;
    result.decode_seconds = seconds_since(start);
    if (!go_on) {
      drop_guesses();
      return stopped(StopReason::kCancelled);
    }
  }
  drop_guesses();
  return stopped(!options.end_tokens.empty() && ends(sampler.peek(last())) ? StopReason::kEndToken
                                                                           : StopReason::kMaxTokens);
}

}  // namespace v4rt
