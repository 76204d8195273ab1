#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace v4rt {

// Leaves elements as they are where std::allocator would clear them.
template <class T>
struct UnclearedAllocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = UnclearedAllocator<U>;
  };
  template <class U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
};

// Bytes that are about to be written, all of them: Bytes(n) holds anything.
using Bytes = std::vector<std::byte, UnclearedAllocator<std::byte>>;

}  // namespace v4rt
