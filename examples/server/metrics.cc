#include "examples/server/metrics.h"

#include <fmt/format.h>

namespace v4rt::server {
namespace {

std::string head(const std::string& name, const std::string& type, const std::string& help) {
  return fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

template <class T>
std::string line(const std::string& name, const std::string& type, const std::string& help, T value) {
  return head(name, type, help) + fmt::format("{} {}\n", name, value);
}

}  // namespace

void Metrics::Histogram::add(double seconds) {
  size_t i = 0;
  while (i < kBounds.size() && seconds > kBounds[i]) ++i;
  ++counts_[i];
  sum_ += seconds;
}

std::string Metrics::Histogram::text(const std::string& name, const std::string& help) const {
  std::string text = head(name, "histogram", help);
  uint64_t count = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
    text += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bound, count);
  }
  return text + fmt::format("{}_sum {}\n{}_count {}\n", name, sum_.load(), name, count);
}

void Metrics::answered(int status) {
  const std::lock_guard lock(mutex_);
  ++answers_[status];
}

void Metrics::ended(const GenerateResult& result, double seconds) {
  prompt_tokens_ += result.prompt_tokens;
  cached_tokens_ += result.cached_tokens;
  tokens_ += result.tokens;
  drafted_ += result.drafted;
  accepted_ += result.accepted;
  duration_.add(seconds);
}

std::string Metrics::text(const Engine& engine) const {
  std::string text = head("v4rt_http_requests_total", "counter", "HTTP requests answered, by status");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [status, n] : answers_)
      text += fmt::format("v4rt_http_requests_total{{status=\"{}\"}} {}\n", status, n);
  }
  text += line("v4rt_prompt_tokens_total", "counter", "Tokens of prompts", prompt_tokens_.load());
  text += line("v4rt_cached_tokens_total", "counter", "Tokens of prompts that the cache held", cached_tokens_.load());
  text += line("v4rt_tokens_total", "counter", "Tokens made", tokens_.load());
  text += line("v4rt_drafted_tokens_total", "counter", "Tokens guessed ahead", drafted_.load());
  text += line("v4rt_accepted_tokens_total", "counter", "Guesses that were right", accepted_.load());
  text += line("v4rt_sequences_running", "gauge", "Sequences that have a slot", engine.running());
  text += line("v4rt_sequences_waiting", "gauge", "Sequences that wait for a slot", engine.waiting());
  text += first_token_.text("v4rt_first_token_seconds", "From a request to its first token");
  text += gap_.text("v4rt_token_gap_seconds", "From a token to the next");
  text += duration_.text("v4rt_answer_seconds", "From a request to its last token");
  return text;
}

}  // namespace v4rt::server
