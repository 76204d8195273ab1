#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/text/code_points.h"

namespace v4rt {

// Text as a regex sees it, with one byte per character. Characters that are in the same sets of the regexes are of one
// kind, and no regex can tell them apart; there are few kinds. Each ASCII character is a kind of its own, so that ASCII
// text is its own view.
class CharacterKinds {
 public:
  using Bytes = std::bitset<256>;  // which bytes of a view

  CharacterKinds() = default;

  // Throws Error that begins with `source` if the sets make more than 128 kinds beyond ASCII.
  CharacterKinds(std::span<const CodePoints> sets, const std::string& source);

  const std::vector<Bytes>& classes() const { return classes_; }  // the bytes that stand for each set's members
  std::string view(std::string_view text) const;                  // `text` is well-formed UTF-8

 private:
  static constexpr uint32_t kPage = 256;

  std::vector<Bytes> classes_;   // by set
  std::vector<uint8_t> kinds_;   // pages of code points that differ from each other
  std::vector<uint16_t> pages_;  // by code point / kPage: where its page begins, in pages
};

}  // namespace v4rt
