#include "backend/cpu/kernels/experts.h"

#include <algorithm>

namespace v4rt {
Experts::Experts(int32_t* memory, std::span<const int32_t> ids, int64_t k, int64_t first, int64_t experts)
    : order_(memory),
      token_(order_ + ids.size()),
      start_(token_ + ids.size()),
      list_(start_ + experts + 1),
      first_row_(list_ + experts) {
  std::fill_n(start_, experts + 1, 0);
  const auto here = [&](int32_t id) { return id >= first && id < first + experts; };
  for (const int32_t id : ids) {
    if (here(id)) ++start_[id - first + 1];
  }
  for (int64_t e = 0; e < experts; ++e) {
    if (start_[e + 1] != 0) list_[active_++] = static_cast<int32_t>(e);
    start_[e + 1] += start_[e];
  }
  // Each expert's start runs to its end, which is the next one's start: shift them back afterwards.
  for (size_t pick = 0; pick < ids.size(); ++pick) {
    if (!here(ids[pick])) continue;
    const int32_t at = start_[ids[pick] - first]++;
    order_[at] = static_cast<int32_t>(pick);
    token_[at] = static_cast<int32_t>(static_cast<int64_t>(pick) / k);
  }
  std::copy_backward(start_, start_ + experts, start_ + experts + 1);
  start_[0] = 0;
}

int64_t Experts::gather(bool tokens, int64_t tile, int32_t* rows) {
  int64_t at = 0;
  for (int64_t i = 0; i < active_; ++i) {
    first_row_[i] = static_cast<int32_t>(at);
    for (const int32_t row : tokens ? this->tokens(i) : picks(i)) rows[at++] = row;
    while (at % tile != 0) rows[at++] = -1;
  }
  return at;
}

}  // namespace v4rt
