#pragma once

// For devices that work while the host does something else.

#include <memory>

#include "backend/stand_in.h"

namespace v4rt {

// A copy between host and device that goes on while the caller does; one at a time. Commands of its queue that follow
// come after it, as always.
class LaterCopy {
 public:
  virtual ~LaterCopy() = default;                                                       // waits
  virtual void download(std::span<std::byte> dst, Buffer& src, size_t offset) = 0;      // dst stays until wait()
  virtual void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) = 0;  // src likewise
  virtual void wait() = 0;  // until it is done; at once where there is none
};

// A queue that has such copies.
class OverlappingQueue {
 public:
  virtual std::unique_ptr<LaterCopy> later_copy() = 0;  // the queue must outlive it

 protected:
  ~OverlappingQueue() = default;
};

// A device all of whose queues are OverlappingQueues, and whose launches return before they are done.
class OverlappingDevice {
 public:
  virtual size_t pinned_bytes() const { return 0; }  // of the host's memory, in which each queue keeps what it copies

 protected:
  ~OverlappingDevice() = default;
};

inline bool overlaps(Device& device) { return offered<OverlappingDevice>(device) != nullptr; }

inline size_t pinned_bytes(Device& device) {
  const auto* overlapping = offered<OverlappingDevice>(device);
  return overlapping != nullptr ? overlapping->pinned_bytes() : 0;
}

}  // namespace v4rt
