#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace v4rt {

// Byte-level BPE over ids: a piece starts as one id per byte, and as long as some adjacent pair has a merge, the pair
// whose merge comes first in the list is joined, the leftmost one among equals.
class Bpe {
 public:
  struct Merge {
    int32_t left, right, result;
  };

  // `merges` in order of rank, no pair twice.
  Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges);

  void encode(std::string_view piece,
              std::vector<int32_t>& ids) const;  // appends; time O(n log n) in the piece's length

 private:
  struct Rule {
    uint32_t rank = kNever;
    int32_t result = -1;
  };
  struct Slot {
    int32_t left = -1, right = -1;  // -1: empty
    Rule rule;
  };
  static constexpr uint32_t kNever = 0xFFFFFFFF;
  static constexpr size_t kShort = 48;  // up to here a scan per merge is faster than a heap

  size_t slot_of(int32_t left, int32_t right) const;  // the slot of the pair, or the empty one where it would go
  Rule rule(int32_t left, int32_t right) const { return slots_[slot_of(left, right)].rule; }
  void encode_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view piece, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_;
  std::vector<Slot> slots_;  // open addressing by pair, a power of two, at most half full
  int shift_ = 0;            // 64 - log2(slots)
};

}  // namespace v4rt
