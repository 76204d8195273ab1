#include "backend/opencl/extents.h"

#include <algorithm>
#include <bit>

#include "ops/core/arith.h"

namespace v4rt {

OpenclExtents::OpenclExtents(const ExtentsSpec& spec)
    : of_(extent_table_bytes(spec.type) / sizeof(int32_t), kNone),
      extent_(spec.type.bytes() / of_.size()),
      shift_(std::countr_zero(static_cast<uint64_t>(extent_rows(spec.type.shape[1])))),
      allocate_(spec.allocate),
      queue_(*spec.queue),
      table_(allocate_(extent_table_bytes(spec.type))) {
  upload(0, of_.size());
  const int64_t slots = spec.type.shape[0], first = ceil_div(std::max<int64_t>(spec.first, 1), int64_t{1} << shift_);
  make_room(std::min(static_cast<size_t>(slots * first), of_.size()));
}

BufferPtr OpenclExtents::slice(size_t offset, size_t bytes) {
  fail(Code::kInternal, "a slice of {} bytes at {} of a state in extents", bytes, offset);
}

OpenclParts::Part OpenclExtents::part(size_t offset) const {
  const size_t e = offset / extent_, within = offset % extent_;
  check(e < of_.size() && of_[e] != kNone, Code::kInternal, "byte {} of a state has no memory", offset);
  size_t n = 1;
  while (e + n < of_.size() && place(e + n) == place(e) + n * extent_) ++n;
  OpenclMemory at = memory_of(*memory_);
  at.offset += place(e) + within;
  return {at, n * extent_ - within};
}

OpenclEntries OpenclExtents::entries(int32_t capacity, const OpenclMemory&) const {
  return {memory_of(*memory_), memory_of(*table_), shift_, capacity};
}

void OpenclExtents::own(size_t begin, size_t end) {
  const size_t first = begin / extent_, last = ceil_div(end, extent_);
  size_t wanted = 0;
  for (size_t e = first; e < last; ++e) wanted += mine(e) ? 0 : 1;
  if (wanted == 0) return;
  make_room(wanted);
  for (size_t e = first; e < last; ++e) {
    if (mine(e)) continue;
    const size_t of = unused(), at = e * extent_;
    if (begin > at && of_[e] != kNone) queue_.copy(*memory_, of * extent_, *memory_, place(e), begin - at);
    map(e, of);
  }
  upload(first, last);
}

// The last extent too: who writes there next takes what comes before along.
void OpenclExtents::copy(size_t to, size_t from, size_t n) {
  check(to % extent_ == 0 && from % extent_ == 0, Code::kInternal, "state is copied from {} to {}", from, to);
  const size_t first = from / extent_, target = to / extent_, all = ceil_div(n, extent_);
  for (size_t i = 0; i < all; ++i) map(target + i, static_cast<size_t>(of_[first + i]));
  upload(target, target + all);
}

// There are never more in use than the tensor has.
void OpenclExtents::make_room(size_t extents) {
  const size_t have = shared_.size();
  if (have - used_ >= extents) return;
  const size_t wanted = std::min(std::max(used_ + extents, have + have / 32), of_.size());
  BufferPtr larger = allocate_(wanted * extent_);
  if (memory_ != nullptr) {
    queue_.copy(*larger, 0, *memory_, 0, have * extent_);
    queue_.finish();
  }
  memory_ = std::move(larger);
  shared_.resize(wanted, 0);
}

size_t OpenclExtents::unused() {
  while (shared_[cursor_] != 0) cursor_ = (cursor_ + 1) % shared_.size();
  return cursor_;
}

void OpenclExtents::map(size_t e, size_t of) {
  if (shared_[of]++ == 0) ++used_;
  if (of_[e] != kNone && --shared_[static_cast<size_t>(of_[e])] == 0) --used_;
  of_[e] = static_cast<int32_t>(of);
}

void OpenclExtents::upload(size_t first, size_t end) {
  queue_.upload(*table_, first * sizeof(int32_t), std::as_bytes(std::span(of_).subspan(first, end - first)));
}

}  // namespace v4rt
