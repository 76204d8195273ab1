#include "loaders/text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>
#include <new>
#include <optional>

#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

std::string pcre2_message(int error) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(error, buffer, sizeof(buffer)) < 0) return fmt::format("PCRE2 error {}", error);
  return reinterpret_cast<const char*>(buffer);
}

struct Span {
  size_t begin, end;
};

}  // namespace

void Pretokenizer::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

// What one thread needs to match: made per call of split(), so that the compiled rules can be shared.
class Pretokenizer::Matcher {
 public:
  // 10.41 and later keep the interpreter's memory in the match data; one of them serves all rules.
  Matcher() : data_(pcre2_match_data_create(1, nullptr)), context_(pcre2_match_context_create(nullptr)) {
    if (!data_ || !context_) throw std::bad_alloc();
  }

  // The first match in `piece` that starts at `from` or later. `piece` is well-formed UTF-8.
  std::optional<Span> find(const Rule& rule, std::string_view piece, size_t from) {
    // Enough steps for any pattern that is linear in the piece, and an end for one that is not.
    const uint64_t steps = 10'000'000 + 64 * uint64_t{piece.size()};
    pcre2_set_match_limit(context_.get(),
                          static_cast<uint32_t>(std::min<uint64_t>(steps, std::numeric_limits<uint32_t>::max())));
    // Each piece was checked to be UTF-8 once; PCRE2 would check it anew for every match.
    int found = match(rule, piece, from, PCRE2_NO_UTF_CHECK);
    // The JIT's stack is small and fixed; the interpreter's grows.
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = match(rule, piece, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
    check(found >= 0, Code::kUnsupported, "{}: cannot be run on a piece of {} bytes: {}", rule.name, piece.size(),
          pcre2_message(found));
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
    check(from <= bounds[0] && bounds[0] <= bounds[1], Code::kUnsupported,
          "{}: a match begins before the text it was looked for in (\\K in a look-around)", rule.name);
    return Span{bounds[0], bounds[1]};
  }

 private:
  struct Free {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  };

  int match(const Rule& rule, std::string_view piece, size_t from, uint32_t options) {
    return pcre2_match(rule.code.get(), reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(), from, options,
                       data_.get(), context_.get());
  }

  std::unique_ptr<pcre2_match_data, Free> data_;
  std::unique_ptr<pcre2_match_context, Free> context_;
};

Pretokenizer::Pretokenizer(std::span<const SplitRule> rules, const std::string& source) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string& pattern = rules[i].pattern;
    Rule rule{nullptr, fmt::format("{}: pre-tokenizer split {}", source, i + 1)};
    check(!pattern.empty(), Code::kCorrupt, "{}: the pattern is empty", rule.name);
    const uint32_t options =
        PCRE2_UTF | (rules[i].literal ? uint32_t{PCRE2_LITERAL} : uint32_t{PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C});
    int error = 0;
    PCRE2_SIZE offset = 0;
    rule.code.reset(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &offset, nullptr));
    check(rule.code != nullptr, Code::kUnsupported, "{}: bad regex at byte {} of {}: {}", rule.name, offset,
          pattern.size(), pcre2_message(error));
    pcre2_jit_compile(rule.code.get(), PCRE2_JIT_COMPLETE);  // where it cannot, pcre2_match interprets
    rules_.push_back(std::move(rule));
  }
}

std::vector<std::string_view> Pretokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces, finer;
  while (!text.empty()) {
    pieces.push_back(text.substr(0, uniform_run(text)));
    text.remove_prefix(pieces.back().size());
  }
  Matcher matcher;
  for (const Rule& rule : rules_) {
    finer.clear();
    for (const std::string_view piece : pieces) {
      if (next_utf8(piece).kind == Utf8Kind::kCharacter) {
        isolate(rule, piece, matcher, finer);
      } else {
        finer.push_back(piece);
      }
    }
    pieces.swap(finer);
  }
  return pieces;
}

void Pretokenizer::isolate(const Rule& rule, std::string_view piece, Matcher& matcher,
                           std::vector<std::string_view>& out) {
  const auto emit = [&](size_t begin, size_t end) {
    if (begin < end) out.push_back(piece.substr(begin, end - begin));
  };
  size_t done = 0;
  size_t from = 0;
  while (from < piece.size()) {
    const auto match = matcher.find(rule, piece, from);
    if (!match) break;
    emit(done, match->begin);
    emit(match->begin, match->end);
    done = from = match->end;
    // An empty match only cuts; the search goes on after the next character.
    if (match->begin == match->end && from < piece.size()) from += next_utf8(piece.substr(from)).size;
  }
  emit(done, piece.size());
}

}  // namespace v4rt
