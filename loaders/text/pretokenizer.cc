#include "loaders/text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>

#include "loaders/text/split_pattern.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

std::string byte_class(const CharacterKinds::Bytes& bytes) {
  if (bytes.none()) return "[^\\x00-\\xFF]";
  std::string text = "[";
  for (size_t first = 0; first < bytes.size(); ++first) {
    if (!bytes[first]) continue;
    size_t last = first;
    while (last + 1 < bytes.size() && bytes[last + 1]) ++last;
    text += fmt::format("\\x{:02X}-\\x{:02X}", first, last);
    first = last;
  }
  return text + "]";
}

struct FreeContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

// Takes the sets of the pattern, as bytes of views, from the front of `classes`.
SplitCode compile(const SplitPattern& pattern, size_t pattern_size, std::span<const CharacterKinds::Bytes>& classes,
                  std::string name) {
  std::string regex;
  std::vector<size_t> begins;  // of each item in the regex
  for (const PatternItem& item : pattern) {
    begins.push_back(regex.size());
    if (const auto* syntax = std::get_if<std::string>(&item.what)) {
      regex += *syntax;
    } else {
      regex += byte_class(classes.front());
      classes = classes.subspan(1);
    }
  }
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE at = 0;
  SplitCode rule{nullptr, std::move(name)};
  rule.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(),
                                PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT, &error, &at, context.get()));
  if (!rule.code) {
    const auto after = static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), at) - begins.begin());
    fail(Code::kUnsupported, "{}: bad regex at byte {} of {}: {}", rule.name,
         at == regex.size() ? pattern_size : pattern[after - 1].offset, pattern_size, pcre2_message(error));
  }
  pcre2_jit_compile(rule.code.get(), PCRE2_JIT_COMPLETE);  // if that fails, pcre2_match interprets
  return rule;
}

// Appends the ends of the pieces of `view`, which begins `base` characters into the text.
void isolate(const SplitCode& rule, std::string_view view, size_t base, SplitMatcher& matcher,
             std::vector<size_t>& ends) {
  size_t done = 0;
  size_t from = 0;
  const auto end_piece = [&](size_t end) {
    if (done < end) ends.push_back(base + end);
    done = end;
  };
  while (from < view.size()) {
    const auto match = matcher.find(rule, view, from);
    if (!match) break;
    end_piece(match->begin);
    end_piece(match->end);
    // An empty match only cuts; the search goes on after the next character.
    from = match->begin == match->end ? match->end + 1 : match->end;
  }
  end_piece(view.size());
}

}  // namespace

Pretokenizer::Pretokenizer(std::span<const SplitRule> rules, const std::string& source) {
  const auto name = [&](size_t rule) { return fmt::format("{}: pre-tokenizer split {}", source, rule + 1); };
  std::vector<SplitPattern> patterns;
  std::vector<CodePoints> sets;
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string& pattern = rules[i].pattern;
    check(!pattern.empty(), Code::kCorrupt, "{}: the pattern is empty", name(i));
    patterns.push_back(rules[i].literal ? literal_pattern(pattern) : parse_pattern(pattern, name(i)));
    for (const PatternItem& item : patterns.back())
      if (const auto* set = std::get_if<CodePoints>(&item.what)) sets.push_back(*set);
  }
  kinds_ = CharacterKinds(sets, source);
  std::span<const CharacterKinds::Bytes> classes = kinds_.classes();
  for (size_t i = 0; i < rules.size(); ++i)
    rules_.push_back(compile(patterns[i], rules[i].pattern.size(), classes, name(i)));
}

std::vector<std::string_view> Pretokenizer::split(std::string_view text, SplitMatcher& matcher) const {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const std::string_view run = text.substr(0, uniform_run(text));
    if (next_utf8(run).kind == Utf8Kind::kCharacter) {
      cut(run, matcher, pieces);
    } else {
      pieces.push_back(run);
    }
    text.remove_prefix(run.size());
  }
  return pieces;
}

void Pretokenizer::cut(std::string_view text, SplitMatcher& matcher, std::vector<std::string_view>& pieces) const {
  const std::string view = kinds_.view(text);
  std::vector<size_t> ends{view.size()}, finer;
  for (const SplitCode& rule : rules_) {
    finer.clear();
    size_t begin = 0;
    for (const size_t end : ends) {
      isolate(rule, std::string_view(view).substr(begin, end - begin), begin, matcher, finer);
      begin = end;
    }
    ends.swap(finer);
  }
  // Turns offsets in characters into offsets in bytes.
  size_t character = 0;
  for (const size_t end : ends) {
    size_t size = 0;
    for (; character < end; ++character) size += utf8_size(text[size]);
    pieces.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
}

}  // namespace v4rt
