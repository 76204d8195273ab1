#include "loaders/text/tokenizer_bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

#include "ops/core/error.h"

namespace v4rt {

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges)
    : byte_ids_(byte_ids),
      slots_(std::bit_ceil(std::max<size_t>(2, 2 * merges.size()))),
      shift_(64 - std::countr_zero(slots_.size())) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    slots_[slot_of(merge.left, merge.right)] = {merge.left, merge.right, {static_cast<uint32_t>(rank), merge.result}};
  }
}

size_t Bpe::slot_of(int32_t left, int32_t right) const {
  const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 over the golden ratio: spreads near keys over the table
  size_t at = (key ^ key >> 29) * kGolden >> shift_;
  while (slots_[at].left >= 0 && (slots_[at].left != left || slots_[at].right != right))
    at = (at + 1) & (slots_.size() - 1);
  return at;
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (piece.size() <= kShort) {
    encode_short(piece, ids);
  } else {
    encode_long(piece, ids);
  }
}

void Bpe::encode_short(std::string_view piece, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;
    Rule next;  // joins it with the symbol to the right
  };
  std::array<Symbol, kShort> symbols;
  size_t size = piece.size();
  for (size_t i = 0; i < size; ++i) symbols[i].id = byte_ids_[static_cast<uint8_t>(piece[i])];
  const auto update = [&](size_t i) {
    symbols[i].next = i + 1 < size ? rule(symbols[i].id, symbols[i + 1].id) : Rule{};
  };
  for (size_t i = 0; i < size; ++i) update(i);

  while (size > 1) {
    const auto best = std::min_element(symbols.begin(), symbols.begin() + static_cast<ptrdiff_t>(size),
                                       [](const Symbol& a, const Symbol& b) { return a.next.rank < b.next.rank; });
    if (best->next.rank == kNever) break;
    best->id = best->next.result;
    std::move(best + 2, symbols.begin() + static_cast<ptrdiff_t>(size), best + 1);
    --size;
    const auto at = static_cast<size_t>(best - symbols.begin());
    update(at);
    if (at > 0) update(at - 1);
  }
  for (size_t i = 0; i < size; ++i) ids.push_back(symbols[i].id);
}

void Bpe::encode_long(std::string_view piece, std::vector<int32_t>& ids) const {
  check(piece.size() < kNever, Code::kUnsupported,
        "a stretch of {} bytes of text without a boundary is too long to encode", piece.size());
  // The symbols are a linked list over positions; kNever ends it on both sides. The rank at position i is that of its
  // pair with the next symbol; kNever if there is no merge, or if the symbol was merged into an earlier one.
  struct Symbol {
    int32_t id;
    uint32_t previous, next, rank;
  };
  const auto size = static_cast<uint32_t>(piece.size());
  std::vector<Symbol> symbols(size);
  for (uint32_t i = 0; i < size; ++i) {
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], i == 0 ? kNever : i - 1, i + 1 == size ? kNever : i + 1,
                  kNever};
  }

  // Entries are rank << 32 | position, so the smallest is the next merge. An entry is stale if its rank is no longer
  // that of its position.
  std::vector<uint64_t> entries;
  const auto rank_at = [&](uint32_t i) {
    const uint32_t next = symbols[i].next;
    symbols[i].rank = next == kNever ? kNever : rule(symbols[i].id, symbols[next].id).rank;
    return symbols[i].rank;
  };
  for (uint32_t i = 0; i < size; ++i) {
    if (const uint32_t rank = rank_at(i); rank != kNever) entries.push_back(uint64_t{rank} << 32 | i);
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue(std::greater<>{}, std::move(entries));

  while (!queue.empty()) {
    const auto rank = static_cast<uint32_t>(queue.top() >> 32);
    const auto at = static_cast<uint32_t>(queue.top());
    queue.pop();
    Symbol& left = symbols[at];
    if (left.rank != rank) continue;
    Symbol& right = symbols[left.next];
    left.id = rule(left.id, right.id).result;
    left.next = right.next;
    right.rank = kNever;
    if (left.next != kNever) symbols[left.next].previous = at;
    for (const uint32_t i : {at, left.previous}) {
      if (i == kNever) continue;
      if (const uint32_t changed = rank_at(i); changed != kNever) queue.push(uint64_t{changed} << 32 | i);
    }
  }
  for (uint32_t i = 0; i != kNever; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace v4rt
