#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;           // PCRE2's pcre2_code
struct pcre2_real_match_data_8;     // pcre2_match_data
struct pcre2_real_match_context_8;  // pcre2_match_context

namespace v4rt {

struct FreePcre2 {
  void operator()(pcre2_real_code_8* code) const;
  void operator()(pcre2_real_match_data_8* data) const;
  void operator()(pcre2_real_match_context_8* context) const;
};

// A regex over bytes, compiled; to be shared between threads.
struct SplitCode {
  std::unique_ptr<pcre2_real_code_8, FreePcre2> code;
  std::string name;  // for messages: "tokenizer.json: pre-tokenizer split 2"
};

std::string pcre2_message(int error);

// Runs regexes on one text, which may come in several stretches, with a limit on time, because a regex from a file may
// take exponential time. The whole text gets 1 s of the thread's processor time plus 5 s per MB, 50 times what V4's
// regexes take.
class SplitMatcher {
 public:
  struct Span {
    size_t begin, end;
  };

  explicit SplitMatcher(size_t text_bytes);

  // The first match that starts at `from` or later. Throws Error when the text's time is used up.
  std::optional<Span> find(const SplitCode& rule, std::string_view subject, size_t from);

 private:
  enum class Outcome { kMatch, kNone, kOutOfSteps };

  // Tries the starts from `first` to `last`, each with at most `steps` of backtracking.
  Outcome match(const SplitCode& rule, std::string_view subject, size_t first, size_t last, uint32_t steps);
  // The same for one start, with as many steps as necessary.
  Outcome match_at(const SplitCode& rule, std::string_view subject, size_t start);
  void check_time(const SplitCode& rule) const;

  std::unique_ptr<pcre2_real_match_data_8, FreePcre2> data_;
  std::unique_ptr<pcre2_real_match_context_8, FreePcre2> context_;
  size_t text_bytes_;
  double deadline_;  // of the thread's processor time, s
  uint32_t calls_ = 0;
};

}  // namespace v4rt
