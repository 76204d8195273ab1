#include "ops/ref_memory.h"

#include <algorithm>
#include <new>

#include "ops/core/arith.h"

namespace v4rt {
namespace {

thread_local RefMemory* current = nullptr;
constexpr size_t kAlignment = 16, kFirstBlock = size_t{1} << 20;

}  // namespace

RefMemory::Use::Use(RefMemory& memory) {
  memory.block_ = memory.used_ = 0;
  current = &memory;
}

RefMemory::Use::~Use() { current = nullptr; }

void* RefMemory::allocate(size_t bytes) { return current != nullptr ? current->take(bytes) : ::operator new(bytes); }

void RefMemory::release(void* memory, size_t bytes) {
  if (current == nullptr) return ::operator delete(memory);
  current->give_back(memory, bytes);
}

void RefMemory::give_back(void* memory, size_t bytes) {
  bytes = round_up(bytes, kAlignment);
  if (block_ < blocks_.size() && used_ >= bytes && memory == blocks_[block_].bytes.get() + (used_ - bytes))
    used_ -= bytes;
}

void* RefMemory::take(size_t bytes) {
  bytes = round_up(bytes, kAlignment);
  while (block_ < blocks_.size() && blocks_[block_].size - used_ < bytes) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    const size_t size = std::max(bytes, blocks_.empty() ? kFirstBlock : 2 * blocks_.back().size);
    blocks_.push_back({std::make_unique<std::byte[]>(size), size});
  }
  std::byte* memory = blocks_[block_].bytes.get() + used_;
  used_ += bytes;
  return memory;
}

}  // namespace v4rt
