#pragma once

// A second, simple and slow tokenizer, to compare loaders/text/tokenizer.h with.

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "loaders/text/utf8.h"

namespace v4rt {

// Unicode's classes of the characters that the tests use; ASCII by rule, others by table.
enum class CharClass { kLetter, kMark, kNumber, kPunctuation, kSymbol, kSpace, kLineEnd, kOther };

struct SlowChar {
  std::string bytes;
  CharClass kind;
  bool cjk;  // in U+4E00-U+9FA5 or U+3040-U+30FF
};

inline CharClass class_of(const std::string& c) {
  using enum CharClass;
  static const std::map<CharClass, std::string> kOthers = {{kLetter, "é я ſ ß 한 ｱ ไ ﬁ ª 𝔘 一 龥 龦 々 ぁ ん ァ ー"},
                                                           {kMark, "\u0301 \u0e49 \u0903 \u20dd"},
                                                           {kNumber, "٣ ① Ⅷ ½ 𝟘 〇"},
                                                           {kPunctuation, "。 ， “ — ¿"},
                                                           {kSymbol, "€ ▁ © 😀 ♥ ゛ ｜"},
                                                           {kSpace, "\u0085 \u00a0 \u2003 \u2028 \u3000"}};
  const char first = c[0];
  if (c.size() == 1) {
    if (first == '\r' || first == '\n') return kLineEnd;
    if (first == ' ' || (first >= 9 && first <= 13)) return kSpace;
    if (std::isalpha(static_cast<unsigned char>(first)) != 0) return kLetter;
    if (first >= '0' && first <= '9') return kNumber;
    if (std::string("$+<=>^`|~").find(first) != std::string::npos) return kSymbol;
    return std::ispunct(static_cast<unsigned char>(first)) != 0 ? kPunctuation : kOther;
  }
  for (const auto& [kind, characters] : kOthers) {
    if ((" " + characters + " ").find(" " + c + " ") != std::string::npos) return kind;
  }
  return kOther;
}

inline std::vector<SlowChar> slow_chars(const std::string& text) {
  std::vector<SlowChar> chars;
  for (size_t i = 0; i < text.size();) {
    const size_t size = next_utf8(std::string_view(text).substr(i)).size;
    const std::string c = text.substr(i, size);
    // UTF-8 sorts as its code points do.
    const bool cjk = size == 3 && ((c >= "\u4e00" && c <= "\u9fa5") || (c >= "\u3040" && c <= "\u30ff"));
    chars.push_back({c, class_of(c), cjk});
    i += size;
  }
  return chars;
}

using SlowChars = std::vector<SlowChar>;

// How many characters from `at` on are of one of the kinds.
inline size_t count(const SlowChars& text, size_t at, std::initializer_list<CharClass> kinds) {
  size_t end = at;
  while (end < text.size() && std::find(kinds.begin(), kinds.end(), text[end].kind) != kinds.end()) ++end;
  return end - at;
}

// Length of the third split's match at `at`, 0 for none: its alternatives in order.
inline size_t slow_match(const SlowChars& text, size_t at) {
  using enum CharClass;
  const SlowChar& c = text[at];
  const auto ascii_letter = [&](size_t i) {
    return i < text.size() && text[i].bytes.size() == 1 && text[i].kind == kLetter;
  };
  if (c.bytes.size() == 1 && (c.kind == kPunctuation || c.kind == kSymbol) && ascii_letter(at + 1)) {
    size_t size = 1;
    while (ascii_letter(at + size)) ++size;
    return size;
  }
  if (c.kind == kMark || c.kind == kNumber || c.kind == kSpace || c.kind == kOther) {
    if (const size_t word = count(text, at + 1, {kLetter, kMark})) return 1 + word;
  }
  if (const size_t word = count(text, at, {kLetter, kMark})) return word;
  const size_t blank = c.bytes == " " ? 1 : 0;
  if (const size_t marks = count(text, at + blank, {kPunctuation, kSymbol})) {
    return blank + marks + count(text, at + blank + marks, {kLineEnd});
  }
  const size_t space = count(text, at, {kSpace, kLineEnd});
  size_t lines = space;
  while (lines > 0 && text[at + lines - 1].kind != kLineEnd) --lines;
  if (lines > 0) return lines;
  return space > 1 && at + space < text.size() ? space - 1 : space;
}

inline void slow_split_rest(const SlowChars& text, std::vector<std::string>& pieces) {
  bool between = false;  // in a stretch that nothing matches
  for (size_t at = 0; at < text.size();) {
    const size_t size = slow_match(text, at);
    if (size > 0 || !between) pieces.emplace_back();
    between = size == 0;
    for (size_t i = 0; i < std::max<size_t>(size, 1); ++i) pieces.back() += text[at++].bytes;
  }
}

// The pieces of well-formed text under DeepSeek's three splits.
inline std::vector<std::string> slow_split(const std::string& text) {
  std::vector<std::string> pieces;
  const SlowChars all = slow_chars(text);
  const auto group = [](const SlowChar& c) { return c.kind == CharClass::kNumber ? 1 : c.cjk ? 2 : 3; };
  for (size_t at = 0; at < all.size();) {
    // Numbers take precedence over kana and ideographs, because the first split comes first.
    const int kind = group(all[at]);
    size_t end = at;
    while (end < all.size() && group(all[end]) == kind && !(kind == 1 && end - at == 3)) ++end;
    const SlowChars part(all.begin() + static_cast<ptrdiff_t>(at), all.begin() + static_cast<ptrdiff_t>(end));
    slow_split_rest(part, pieces);  // what the first two splits made too: "゛" is a symbol among the kana
    at = end;
  }
  return pieces;
}

// BPE over strings for pieces of printable ASCII, which stand for themselves in the file.
class SlowMerger {
 public:
  explicit SlowMerger(const nlohmann::json& file) : vocab_(file["model"]["vocab"]) {
    int rank = 0;
    for (const auto& merge : file["model"]["merges"]) ranks_[merge.get<std::string>()] = rank++;
  }

  std::vector<int32_t> encode(const std::string& piece) const {
    std::vector<std::string> symbols;
    for (const char c : piece) symbols.emplace_back(1, c);
    while (true) {
      size_t best = symbols.size();
      int best_rank = -1;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = ranks_.find(symbols[i] + " " + symbols[i + 1]);
        if (found == ranks_.end() || (best_rank >= 0 && found->second >= best_rank)) continue;
        best = i;
        best_rank = found->second;
      }
      if (best == symbols.size()) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    std::vector<int32_t> ids;
    for (const std::string& symbol : symbols) ids.push_back(vocab_.at(symbol).get<int32_t>());
    return ids;
  }

 private:
  nlohmann::json vocab_;
  std::map<std::string, int> ranks_;
};

}  // namespace v4rt
