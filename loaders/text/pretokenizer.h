#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;  // PCRE2's pcre2_code

namespace v4rt {

// One "Split" step of tokenizer.json with behavior "Isolated".
struct SplitRule {
  std::string pattern;
  bool literal = false;  // a plain string, not a regex
};

// Cuts text into the pieces that BPE sees. Each rule cuts the pieces that the rule before left: matches become pieces,
// and so does the text between them. A rule sees one piece at a time, so look-around ends where the piece does. Bytes
// that are not UTF-8 are kept: each maximal run of them is a piece, and text before and after it is cut as if it stood
// alone.
//
// Character classes are those of PCRE2's Unicode tables (14.0 in PCRE2 10.42). Known to differ from Oniguruma, for
// which these files are written: characters assigned in a later Unicode, and U+180E, which \s matches here and does not
// match there.
class Pretokenizer {
 public:
  // Throws Error with `source`, the rule's number and PCRE2's message and offset for a regex that does not compile.
  Pretokenizer(std::span<const SplitRule> rules, const std::string& source);

  // The pieces in order; together they are `text`. Safe to call from several threads at once.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  struct Rule {
    std::unique_ptr<pcre2_real_code_8, FreeCode> code;
    std::string name;  // for messages: "tokenizer.json: pre_tokenizer split 2"
  };
  class Matcher;

  static void isolate(const Rule& rule, std::string_view piece, Matcher& matcher, std::vector<std::string_view>& out);

  std::vector<Rule> rules_;
};

}  // namespace v4rt
