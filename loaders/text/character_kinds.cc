#include "loaders/text/character_kinds.h"

#include <algorithm>
#include <map>

#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr uint32_t kFirst = 0x80;  // of the code points that share kinds

// Where a set begins or ends.
struct Edge {
  uint32_t code;
  size_t set;
};

std::vector<Edge> edges_of(std::span<const CodePoints> sets) {
  std::vector<Edge> edges;
  for (size_t set = 0; set < sets.size(); ++set) {
    for (const CodePoints::Range& range : sets[set].ranges()) {
      if (range.last < kFirst) continue;
      edges.push_back({std::max(range.first, kFirst), set});
      edges.push_back({range.last + 1, set});
    }
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.code < b.code; });
  return edges;
}

}  // namespace

CharacterKinds::CharacterKinds(std::span<const CodePoints> sets, const std::string& source) : classes_(sets.size()) {
  for (size_t set = 0; set < sets.size(); ++set)
    for (uint32_t code = 0; code < kFirst; ++code) classes_[set][code] = sets[set].contains(code);

  // Between two edges all code points belong to the same sets.
  std::vector<uint8_t> kind_of(CodePoints::kLast + 1);
  std::map<std::vector<bool>, uint8_t> kinds;
  std::vector<bool> member(sets.size());
  const auto close = [&](uint32_t begin, uint32_t end) {
    if (begin == end) return;
    check(kinds.size() < 256 - kFirst || kinds.contains(member), Code::kUnsupported,
          "{}: the pre-tokenizer's regexes tell more than {} kinds of characters apart", source, 256 - kFirst);
    const auto [kind, is_new] = kinds.try_emplace(member, static_cast<uint8_t>(kFirst + kinds.size()));
    if (is_new)
      for (size_t set = 0; set < sets.size(); ++set) classes_[set][kind->second] = member[set];
    std::fill(kind_of.begin() + begin, kind_of.begin() + end, kind->second);
  };
  uint32_t begin = kFirst;
  for (const Edge& edge : edges_of(sets)) {
    close(begin, edge.code);
    begin = edge.code;
    member[edge.set].flip();
  }
  close(begin, CodePoints::kLast + 1);

  std::map<std::string_view, uint16_t> known;
  for (uint32_t code = 0; code <= CodePoints::kLast; code += kPage) {
    const std::string_view page(reinterpret_cast<const char*>(kind_of.data()) + code, kPage);
    const auto [place, is_new] = known.try_emplace(page, static_cast<uint16_t>(known.size()));
    if (is_new) kinds_.insert(kinds_.end(), page.begin(), page.end());
    pages_.push_back(place->second);
  }
}

std::string CharacterKinds::view(std::string_view text) const {
  std::string view(text.size(), '\0');
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); i += utf8_size(text[i])) {
    const uint32_t code = decode_utf8(text.substr(i));
    view[characters++] = static_cast<char>(code < kFirst ? code : kinds_[pages_[code / kPage] * kPage + code % kPage]);
  }
  view.resize(characters);
  return view;
}

}  // namespace v4rt
