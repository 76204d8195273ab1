#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/text/character_kinds.h"
#include "loaders/text/split_matcher.h"

namespace v4rt {

// One "Split" step of tokenizer.json with behavior "Isolated".
struct SplitRule {
  std::string pattern;
  bool literal = false;  // a plain string, not a regex
};

// Cuts text into the pieces that BPE sees. Each rule cuts the pieces left by the rule before: matches become pieces,
// and so does the text between them. A rule sees one piece at a time, so look-around ends where the piece does. Bytes
// that are not UTF-8 are kept: each maximal run of them is a piece, and the text before and after it is cut as if it
// were alone.
//
// code_points.h defines what classes mean. The rules match views of the text (character_kinds.h), in which a class is a
// set of bytes: PCRE2, which does the matching, knows nothing of Unicode here.
class Pretokenizer {
 public:
  // Throws Error with `source`, the rule's number and the offset in a regex that cannot be run.
  Pretokenizer(std::span<const SplitRule> rules, const std::string& source);

  // The pieces in order; together they are `text`. Safe to call from several threads at once, each with its matcher.
  std::vector<std::string_view> split(std::string_view text, SplitMatcher& matcher) const;

 private:
  void cut(std::string_view text, SplitMatcher& matcher, std::vector<std::string_view>& pieces) const;

  CharacterKinds kinds_;
  std::vector<SplitCode> rules_;
};

}  // namespace v4rt
