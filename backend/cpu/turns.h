#pragma once

#include <atomic>
#include <cstdint>

namespace v4rt {

// A lock that is had in the order of asking.
class Turns {
 public:
  void lock() {
    const uint32_t mine = next_.fetch_add(1, std::memory_order_relaxed);
    for (uint32_t now = 0; (now = serving_.load(std::memory_order_acquire)) != mine;) serving_.wait(now);
  }
  void unlock() {
    serving_.fetch_add(1, std::memory_order_release);
    serving_.notify_all();
  }

 private:
  alignas(64) std::atomic<uint32_t> next_{0};
  alignas(64) std::atomic<uint32_t> serving_{0};
};

}  // namespace v4rt
