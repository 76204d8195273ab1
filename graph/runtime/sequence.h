#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "ops/core/bytes.h"

namespace v4rt {

// What a session knows of one of its sequences beside the state on the devices.
struct Sequence {
  int64_t position = 0;
  int64_t start = 0;              // where it was put down
  int64_t kept = 0, written = 0;  // what rings hold, and the furthest that it has been: SessionState::reaches
  std::map<int64_t, std::shared_ptr<const Bytes>> checkpoints;

  // For drafts: the last tokens, token p at p mod size, and none without drafts; how many positions the MTP block has
  // seen, and the token that it took for the one after them.
  std::vector<int32_t> recent;
  int64_t drafted = 0;
  int32_t guessed = -1;

  int32_t& token(int64_t at) { return recent[static_cast<size_t>(at) % recent.size()]; }

  void append(std::span<const int32_t> tokens) {
    if (drafted == position && tokens.front() != guessed) forget_draft(position);
    for (size_t i = 0; i < tokens.size() && !recent.empty(); ++i) token(position + static_cast<int64_t>(i)) = tokens[i];
    position += static_cast<int64_t>(tokens.size());
  }
  void cut(int64_t to) {
    if (to < drafted) forget_draft(to);
    position = to;
    checkpoints.erase(checkpoints.upper_bound(to), checkpoints.end());
  }
  void clear() {
    put(0);
    checkpoints.clear();
  }
  // It begins here, as far as rings are concerned.
  void put(int64_t at) { position = start = kept = written = drafted = at; }

 private:
  // Another token follows the first `n`: what the block keeps of the last of them is of no use.
  void forget_draft(int64_t n) { drafted = std::max(start, n - 1); }
};

}  // namespace v4rt
