#pragma once

#include <cstdint>
#include <span>

namespace v4rt {

// The picks of a chunk, pick = t * k + slot, of experts [first, first + experts), sorted by expert, so that every
// expert's weights are read once. Numbers experts from `first`. Its memory is scratch.
class Experts {
 public:
  static int64_t words(int64_t picks, int64_t experts) { return 2 * picks + 3 * experts + 1; }

  Experts(int32_t* memory, std::span<const int32_t> ids, int64_t k, int64_t first, int64_t experts);

  int64_t active() const { return active_; }            // experts that somebody picked
  int32_t expert(int64_t i) const { return list_[i]; }  // i < active()
  std::span<const int32_t> picks(int64_t i) const { return {order_ + start(i), count(i)}; }
  std::span<const int32_t> tokens(int64_t i) const { return {token_ + start(i), count(i)}; }

  // For products that want the rows of each expert to start at a tile of `tile` rows: lists the token or the pick of
  // each row, -1 for padding, and returns the number of rows. `rows` has room for most_rows().
  static int64_t most_rows(int64_t picks, int64_t experts, int64_t tile) {
    return (picks + (tile - 1) * (picks < experts ? picks : experts)) / tile * tile;
  }
  int64_t gather(bool tokens, int64_t tile, int32_t* rows);
  int64_t first_row(int64_t i) const { return first_row_[i]; }  // after gather()

 private:
  int32_t start(int64_t i) const { return start_[list_[i]]; }
  size_t count(int64_t i) const { return static_cast<size_t>(start_[list_[i] + 1] - start_[list_[i]]); }

  int32_t *order_, *token_, *start_, *list_, *first_row_;
  int64_t active_ = 0;
};

}  // namespace v4rt
