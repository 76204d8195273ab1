#include "examples/cli/statistics.h"

#include <fmt/format.h>

namespace v4rt::cli {
namespace {

std::string speed(int64_t tokens, double seconds) {
  const std::string text = fmt::format("{:6} tokens in {:.3f} s", tokens, seconds);
  return seconds > 0 && tokens > 0 ? fmt::format("{}, {:.1f} tokens/s", text, static_cast<double>(tokens) / seconds)
                                   : text;
}

}  // namespace

std::string statistics(const GenerateResult& result) {
  std::string text = fmt::format("prefill {}\ndecode  {}\n", speed(result.prompt_tokens, result.prefill_seconds),
                                 speed(result.tokens, result.decode_seconds));
  if (result.drafted > 0) {
    text += fmt::format("guesses {:6}, {:.0f} % of them right\n", result.drafted,
                        100.0 * static_cast<double>(result.accepted) / static_cast<double>(result.drafted));
  }
  return text;
}

std::string_view describe(StopReason reason) {
  switch (reason) {
    case StopReason::kEndToken: return "stopped at the end token";
    case StopReason::kMaxTokens: return "stopped at -n";
    case StopReason::kContextFull: return "stopped because the context is full";
    case StopReason::kCancelled: return "interrupted";
  }
  return "";
}

std::string_view key(StopReason reason) {
  switch (reason) {
    case StopReason::kEndToken: return "end_token";
    case StopReason::kMaxTokens: return "max_tokens";
    case StopReason::kContextFull: return "context_full";
    case StopReason::kCancelled: return "cancelled";
  }
  return "";
}

}  // namespace v4rt::cli
