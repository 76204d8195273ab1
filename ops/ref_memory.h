#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace v4rt {

// Working memory of Op::reference(): blocks are kept from call to call, so that a reference device allocates nothing
// while it runs. While a Use is alive, vectors with RefAllocator on this thread take their memory from it, and must be
// gone before it ends. Without a Use they use the heap, as in tests that call reference() directly.
class RefMemory {
 public:
  class Use {
   public:
    explicit Use(RefMemory& memory);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
  };

  static void* allocate(size_t bytes);
  static void release(void* memory, size_t bytes);

 private:
  void* take(size_t bytes);
  void give_back(void* memory, size_t bytes);
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    size_t size;
  };
  std::vector<Block> blocks_;
  size_t block_ = 0, used_ = 0;
};

template <class T>
struct RefAllocator {
  using value_type = T;
  RefAllocator() = default;
  template <class U>
  RefAllocator(const RefAllocator<U>&) {}  // NOLINT: conversion is what rebinding needs
  T* allocate(size_t n) { return static_cast<T*>(RefMemory::allocate(n * sizeof(T))); }
  void deallocate(T* memory, size_t n) { RefMemory::release(memory, n * sizeof(T)); }
  bool operator==(const RefAllocator&) const { return true; }
};

template <class T>
using RefVector = std::vector<T, RefAllocator<T>>;
using Floats = RefVector<float>;
using Ints = RefVector<int32_t>;

}  // namespace v4rt
