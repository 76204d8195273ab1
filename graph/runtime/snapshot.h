#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/core/hash.h"

namespace v4rt {

// A sequence outside any session. Its bytes depend on the weights, the number mode and the tokens fed alone: context,
// chunk, number of sequences and device do not show in them.
struct Snapshot {
  int64_t position = 0;
  std::vector<std::byte> bytes;
};

// Takes bytes that were a snapshot's. Throws Error(kCorrupt) when they are not whole, or not of a version known here.
Snapshot snapshot_of(std::vector<std::byte> bytes);

// A file appears when it is complete. Throws Error naming the path.
void save_snapshot(const Snapshot& snapshot, const std::string& path);
Snapshot load_snapshot(const std::string& path);

// The bytes: magic, version, position, a mark of weights and number mode, the states one after the other by name, each
// with its live rows in the order of their positions; then a checksum of all that. Numbers are little-endian.
class SnapshotWriter {
 public:
  SnapshotWriter(int64_t position, const Hash& mark, size_t states, size_t bytes_of_rows);
  std::span<std::byte> add(std::string_view name, int64_t rows, int64_t row_bytes);  // where the rows go
  Snapshot finish();

 private:
  void put(const void* value, size_t bytes);

  Snapshot snapshot_;
};

class SnapshotReader {
 public:
  struct State {
    std::string_view name;
    int64_t rows = 0, row_bytes = 0;
    std::span<const std::byte> bytes;
  };

  // Checks all of it but the mark; throws Error(kCorrupt).
  explicit SnapshotReader(std::span<const std::byte> bytes);
  int64_t position() const { return position_; }
  const Hash& mark() const { return mark_; }
  std::span<const State> states() const { return states_; }
  const State* find(std::string_view name) const;  // nullptr: none

 private:
  int64_t position_ = 0;
  Hash mark_{};
  std::vector<State> states_;
};

}  // namespace v4rt
