#pragma once

#include <cstring>
#include <memory>
#include <span>

#include "ops/core/error.h"
#include "ops/core/tensor.h"

namespace v4rt {

// Host memory that a device works on in place: owned, borrowed from the caller, or a slice that keeps its parent alive.
class HostBuffer final : public Buffer, public std::enable_shared_from_this<HostBuffer> {
 public:
  HostBuffer(std::byte* data, size_t bytes, std::shared_ptr<void> owner)
      : data_(data), bytes_(bytes), owner_(std::move(owner)) {}

  size_t bytes() const override { return bytes_; }
  std::byte* host() const override { return data_; }
  BufferPtr slice(size_t offset, size_t bytes) override {
    check(offset <= bytes_ && bytes <= bytes_ - offset, Code::kInternal, "slice [{}, +{}) of a buffer of {} bytes",
          offset, bytes, bytes_);
    return std::make_shared<HostBuffer>(data_ + offset, bytes, shared_from_this());
  }

 private:
  std::byte* data_;
  size_t bytes_;
  std::shared_ptr<void> owner_;
};

// A borrowed read-only view. Kernels never write to weights, so the const is cast away here and nowhere else.
inline BufferPtr borrow_host(std::span<const std::byte> memory) {
  return std::make_shared<HostBuffer>(const_cast<std::byte*>(memory.data()), memory.size(), nullptr);
}

}  // namespace v4rt
