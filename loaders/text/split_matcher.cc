#include "loaders/text/split_matcher.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <new>

#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr double kSeconds = 1, kSecondsPerByte = 5e-6;

// PCRE2 does not tell how much work a call did, so every call must be short: it tries few starts with few steps each,
// and the steps are doubled only when necessary, so that we can look at the clock in between.
constexpr size_t kStarts = 256;
constexpr uint32_t kFewSteps = 64;
constexpr uint32_t kCallsBetweenLooks = 64;  // at the clock, which costs more than most calls

constexpr uint32_t kHeapKib = 512 * 1024;  // of the interpreter, for backtracking

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double allowance(size_t text_bytes) { return kSeconds + kSecondsPerByte * static_cast<double>(text_bytes); }

}  // namespace

void FreePcre2::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void FreePcre2::operator()(pcre2_real_match_data_8* data) const { pcre2_match_data_free(data); }
void FreePcre2::operator()(pcre2_real_match_context_8* context) const { pcre2_match_context_free(context); }

std::string pcre2_message(int error) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(error, buffer, sizeof(buffer)) < 0) return fmt::format("PCRE2 error {}", error);
  return reinterpret_cast<const char*>(buffer);
}

// 10.41 and later keep the interpreter's memory in the match data; one of them serves all rules.
SplitMatcher::SplitMatcher(size_t text_bytes)
    : data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      text_bytes_(text_bytes),
      deadline_(thread_seconds() + allowance(text_bytes)) {
  if (!data_ || !context_) throw std::bad_alloc();
  pcre2_set_heap_limit(context_.get(), kHeapKib);
}

std::optional<SplitMatcher::Span> SplitMatcher::find(const SplitCode& rule, std::string_view subject, size_t from) {
  while (from <= subject.size()) {
    const size_t last = std::min(from + kStarts - 1, subject.size());
    Outcome outcome = match(rule, subject, from, last, kFewSteps);
    if (outcome == Outcome::kOutOfSteps) {  // at one of these starts; PCRE2 does not say which
      do {
        outcome = match_at(rule, subject, from);
      } while (outcome == Outcome::kNone && ++from <= last);
    }
    if (outcome == Outcome::kMatch) {
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
      return Span{bounds[0], bounds[1]};
    }
    from = last + 1;
  }
  return std::nullopt;
}

SplitMatcher::Outcome SplitMatcher::match_at(const SplitCode& rule, std::string_view subject, size_t start) {
  uint64_t steps = kFewSteps;
  while (true) {
    const Outcome outcome = match(rule, subject, start, start, static_cast<uint32_t>(steps));
    if (outcome != Outcome::kOutOfSteps) return outcome;
    check_time(rule);
    steps = std::min<uint64_t>(2 * steps, std::numeric_limits<uint32_t>::max());
  }
}

SplitMatcher::Outcome SplitMatcher::match(const SplitCode& rule, std::string_view subject, size_t first, size_t last,
                                          uint32_t steps) {
  if (++calls_ % kCallsBetweenLooks == 0) check_time(rule);
  pcre2_set_match_limit(context_.get(), steps);
  pcre2_set_offset_limit(context_.get(), last);
  const auto run = [&](uint32_t options) {
    return pcre2_match(rule.code.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), first, options,
                       data_.get(), context_.get());
  };
  int result = run(0);
  // The JIT's stack is small and fixed; the interpreter's grows.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return Outcome::kNone;
  if (result == PCRE2_ERROR_MATCHLIMIT) return Outcome::kOutOfSteps;
  check(result >= 0, Code::kUnsupported, "{}: cannot be run on a piece of {} bytes: {}", rule.name, subject.size(),
        pcre2_message(result));
  return Outcome::kMatch;
}

void SplitMatcher::check_time(const SplitCode& rule) const {
  check(thread_seconds() < deadline_, Code::kUnsupported,
        "{}: its regex is not done with a text of {} bytes after {:.1f} s: it is of the kind that takes exponential or "
        "quadratic time, so the file has to be mended",
        rule.name, text_bytes_, allowance(text_bytes_));
}

}  // namespace v4rt
