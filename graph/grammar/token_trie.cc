#include "graph/grammar/token_trie.h"

#include <algorithm>
#include <string>

#include "graph/grammar/grammar.h"
#include "loaders/text/chat_encoding.h"
#include "loaders/text/chat_tools.h"
#include "loaders/text/utf8.h"

namespace v4rt {
namespace {

constexpr int32_t kRuns[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, kAnyRun};

// Characters of a text that a JSON string can hold as it is; -1 for any other.
int32_t plain_characters(std::string_view text) {
  int32_t n = 0;
  for (size_t at = 0; at < text.size(); ++n) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x20 || byte == '"' || byte == '\\') return -1;
    const Utf8Unit unit = next_utf8(text.substr(at));
    if (unit.kind != Utf8Kind::kCharacter) return -1;
    at += unit.size;
  }
  return n;
}

bool is_control(char byte) { return static_cast<unsigned char>(byte) >= kOtherToken; }

TokenTrie::Part part_of(std::vector<std::pair<std::string_view, int32_t>> tokens) {
  std::ranges::sort(tokens);
  struct Below {  // a node: the tokens that begin as it says
    size_t begin, end, depth;
  };
  TokenTrie::Part part{.nodes = {{}}};
  std::vector<Below> below = {{0, tokens.size(), 0}};
  for (size_t i = 0; i < below.size(); ++i) {
    auto [at, end, depth] = below[i];
    part.nodes[i].ids = static_cast<int32_t>(part.ids.size());
    part.nodes[i].children = static_cast<int32_t>(below.size());
    part.depth = std::max(part.depth, depth);
    for (; at < end && tokens[at].first.size() == depth; ++at) part.ids.push_back(tokens[at].second);
    while (at < end) {
      const size_t begin = at;
      const char byte = tokens[begin].first[depth];
      while (at < end && tokens[at].first[depth] == byte) ++at;
      below.push_back({begin, at, depth + 1});
      part.nodes.push_back({.byte = static_cast<uint8_t>(byte)});
    }
  }
  part.nodes.push_back(
      {.children = static_cast<int32_t>(part.nodes.size()), .ids = static_cast<int32_t>(part.ids.size())});
  return part;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer, int64_t vocab_size, std::span<const int32_t> end_tokens)
    : words_((static_cast<size_t>(vocab_size) + 63) / 64) {
  const auto known = [&](std::string_view token) { return tokenizer.find_added(token).value_or(-1); };
  const int32_t marker = known(kDsmlToken), end_think = known(kEndThinkToken);
  begin_.push_back(0);
  for (int32_t id = 0; id < vocab_size; ++id) {
    if (std::ranges::find(end_tokens, id) != end_tokens.end()) {
      bytes_ += static_cast<char>(kEndToken);
    } else if (tokenizer.is_added(id)) {
      bytes_ += static_cast<char>(id == marker ? kDsmlByte : id == end_think ? kEndThinkByte : kOtherToken);
    } else if (std::ranges::any_of(tokenizer.token_bytes(id), is_control)) {  // single bytes are tokens, too
      bytes_ += static_cast<char>(kOtherToken);
    } else {
      bytes_ += tokenizer.token_bytes(id);
    }
    begin_.push_back(bytes_.size());
  }

  std::vector<std::pair<std::string_view, int32_t>> plain, other;
  for (const int32_t most : kRuns) runs_.push_back({most, std::vector<uint64_t>(words_)});
  for (int32_t id = 0; id < vocab_size; ++id) {
    if (bytes(id).empty()) continue;
    const int32_t n = plain_characters(bytes(id));
    (n > 0 ? plain : other).emplace_back(bytes(id), id);
    for (Run& run : runs_)
      if (n > 0 && n <= run.most) run.bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
  }
  plain_ = part_of(std::move(plain));
  other_ = part_of(std::move(other));
}

const TokenTrie::Run* TokenTrie::run(int32_t most) const {
  const auto above = std::ranges::upper_bound(runs_, most, {}, &Run::most);
  return above == runs_.begin() ? nullptr : &above[-1];
}

}  // namespace v4rt
