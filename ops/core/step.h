#pragma once

#include <cstdint>
#include <span>

namespace v4rt {

// One run of consecutive tokens of one sequence inside a chunk.
struct Segment {
  int32_t slot = 0;      // which sequence: the leading index of every state tensor
  int32_t position = 0;  // of the first token
  int32_t n_tokens = 0;  // >= 1
};

// What a kernel knows about one live row of the chunk. Rows [first, end) belong to the same segment, so the position of
// row u of that range is position - (row - u).
struct Row {
  int32_t slot, position, first, end;
};

// How much of a plan's capacity is live. Row-wise kernels read n_rows(); kernels that touch positions or state read
// rows[t]. A device keeps it as a table of int4: {n_rows, n_segments, 0, 0}, then one per row, then one {last row,
// slot, 0, 0} per segment.
struct Step {
  std::span<const Segment> segments;
  std::span<const Row> rows;

  int32_t n_rows() const { return static_cast<int32_t>(rows.size()); }
  int32_t n_segments() const { return static_cast<int32_t>(segments.size()); }
};

// Fills `rows` (sized to the sum of n_tokens) from `segments`.
inline void fill_rows(std::span<const Segment> segments, std::span<Row> rows) {
  int32_t row = 0;
  for (const Segment& s : segments) {
    const int32_t first = row, end = row + s.n_tokens;
    for (; row < end; ++row) rows[static_cast<size_t>(row)] = {s.slot, s.position + (row - first), first, end};
  }
}

}  // namespace v4rt
