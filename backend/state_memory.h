#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/device.h"
#include "ops/core/arith.h"

namespace v4rt {

// State of several sequences, one after the other, of which ranges that are copies of each other are the same memory
// until one of them is written to. Who is about to write says so. So a copy takes memory only where it becomes
// different.
class SharedState {
 public:
  virtual ~SharedState() = default;

  // Bytes [begin, end) are about to be written: from now on these are no other range's. What they held may be lost, and
  // so may what follows them in their last extent. Throws Error(kOutOfMemory), having changed nothing that counts.
  virtual void own(size_t begin, size_t end) = 0;

  // Bytes [to, to + n) become those of [from, from + n); both begin an extent, and what follows is as for own(). Throws
  // Error(kOutOfMemory): the former hold anything.
  virtual void copy(size_t to, size_t from, size_t n) = 0;
};

// How a device holds what grows with a sequence: the compressed entries.
enum class StateMemory : uint8_t {
  kWhole,    // for the whole context from the start
  kPages,    // the same, of host memory that kernels work on in place and the system gives as it is used: SharedPages
  kExtents,  // in extents of a buffer, through a table; the buffer is replaced by a larger one as more are used
};

// How rows lie in kExtents, for a state of `rows` rows to a slot: at least 128 extents where it is long enough, each a
// power of two of rows. Slots begin at extents.
inline int64_t extent_rows(int64_t rows) {
  return std::clamp<int64_t>(static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows) / 128)), 16, 256);
}

// [slots, rows, ..] with as many rows as it then has.
inline TensorType in_extents(const TensorType& state) {
  std::vector<int64_t> dims(state.shape.dims().begin(), state.shape.dims().end());
  dims[1] = round_up(dims[1], extent_rows(dims[1]));
  TensorType held = state;
  held.shape = Shape(std::span<const int64_t>(dims));
  return held;
}

inline size_t extent_table_bytes(const TensorType& held) {
  return static_cast<size_t>(held.shape[0] * held.shape[1] / extent_rows(held.shape[1])) * sizeof(int32_t);
}

// `type` is what in_extents() gave. Memory comes from `allocate`, for `first` rows of every slot at once; what is
// changed later is changed by `queue`.
struct ExtentsSpec {
  TensorType type;
  int64_t first = 0;
  std::function<BufferPtr(size_t bytes)> allocate;
  Queue* queue = nullptr;
};

// For devices that hold it in another way than kWhole. Their kernels take the rows of a slot from the tensor that is
// bound, which may have more than the one that they were made for.
class StateHolder {
 public:
  virtual StateMemory state_memory() const = 0;

  // Of kExtents: the tensor's memory, which the second holds.
  struct Extents {
    BufferPtr values;
    SharedState* state = nullptr;
  };
  virtual Extents make_extents(const ExtentsSpec&) { return {}; }

 protected:
  ~StateHolder() = default;
};

inline StateMemory state_memory(const Device& device) {
  const auto* holder = dynamic_cast<const StateHolder*>(&device);
  return holder != nullptr ? holder->state_memory() : StateMemory::kWhole;
}

}  // namespace v4rt
