#include "loaders/text/tokenizer_added.h"

#include <algorithm>

namespace v4rt {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (const AddedToken& token : tokens_) {
    ids_.push_back(token.id);
    starts_[static_cast<uint8_t>(token.content[0])] = true;
  }
  std::sort(ids_.begin(), ids_.end());
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    if (auto match = longest_at(text, begin)) return match;
  }
  return std::nullopt;
}

// Narrows the sorted tokens to those that agree with the text, one byte at a time. A token that ends here sorts before
// its continuations, so it is the first of the range.
std::optional<AddedTokens::Match> AddedTokens::longest_at(std::string_view text, size_t begin) const {
  std::optional<Match> best;
  auto low = tokens_.begin();
  auto high = tokens_.end();
  for (size_t depth = 0; low != high; ++depth) {
    if (low->content.size() == depth) {
      best = Match{begin, depth, low->id};
      ++low;
    }
    if (begin + depth == text.size()) break;
    const auto byte = static_cast<uint8_t>(text[begin + depth]);
    const auto at = [depth](const AddedToken& token) { return static_cast<uint8_t>(token.content[depth]); };
    low = std::partition_point(low, high, [&](const AddedToken& token) { return at(token) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken& token) { return at(token) == byte; });
  }
  return best;
}

std::optional<int32_t> AddedTokens::id_of(std::string_view content) const {
  const auto found =
      std::lower_bound(tokens_.begin(), tokens_.end(), content,
                       [](const AddedToken& token, std::string_view wanted) { return token.content < wanted; });
  if (found == tokens_.end() || found->content != content) return std::nullopt;
  return found->id;
}

bool AddedTokens::contains(int32_t id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }

}  // namespace v4rt
