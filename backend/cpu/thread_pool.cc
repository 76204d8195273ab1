#include "backend/cpu/thread_pool.h"

#include <algorithm>
#include <cmath>

#include "ops/core/arith.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace v4rt {
namespace {

constexpr int kSpins = 2000;  // about 0.1 ms

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr uint32_t generation(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(static_cast<size_t>(std::max(threads, 1))) {
  workers_.reserve(shares_.size() - 1);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& e) {
    start_error_ = e.code();
  } catch (const std::bad_alloc&) {
    start_error_ = std::make_error_code(std::errc::not_enough_memory);
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

int64_t ThreadPool::grain(int64_t count, double cost) {
  const auto least = static_cast<int64_t>(std::ceil(kTaskWork / std::max(cost, 1.0)));
  return std::max(least, ceil_div(count, kMaxTasks));
}

void ThreadPool::run(const Job& job) {
  if (busy_.exchange(true, std::memory_order_acquire)) return job.call(job.body, 0, job.count, 0);
  job_ = job;
  const int64_t tasks = (job.count + job.grain - 1) / job.grain, n = threads();
  for (int64_t i = 0; i < n; ++i) {
    shares_[static_cast<size_t>(i)].next.store(tasks * i / n, std::memory_order_relaxed);
    shares_[static_cast<size_t>(i)].end = tasks * (i + 1) / n;
  }
  const uint32_t next_generation = generation(state_.load(std::memory_order_relaxed)) + 1;
  state_.store((uint64_t{next_generation} << 32) | kOpen);  // sequentially consistent with sleepers_: see sleep()
  if (sleepers_.load() > 0) {
    wake_.fetch_add(1);
    wake_.notify_all();
  }
  take_part(0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);  // nobody can join any more
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kActive) != 0; ++spins) {
    if (spins < kSpins)
      pause();
    else
      std::this_thread::yield();
  }
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::take_tasks(Share& share, const Job& job, int worker) {
  while (share.next.load(std::memory_order_relaxed) < share.end) {
    const int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
    if (task >= share.end) return;
    job.call(job.body, task * job.grain, std::min((task + 1) * job.grain, job.count), worker);
  }
}

void ThreadPool::take_part(int worker) {
  const Job job = job_;
  const auto own = static_cast<size_t>(worker);
  for (size_t i = 0; i < shares_.size(); ++i) take_tasks(shares_[(own + i) % shares_.size()], job, worker);
}

bool ThreadPool::join_run(uint32_t& seen, int worker) {
  uint64_t state = state_.load();
  while ((state & kOpen) != 0 && generation(state) != seen) {
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) continue;
    seen = generation(state);
    take_part(worker);
    state_.fetch_sub(1, std::memory_order_release);
    return true;
  }
  return false;
}

// Announces itself before it checks a last time, while run() publishes before it checks for sleepers, so one of them
// sees the other.
void ThreadPool::sleep(uint32_t seen) {
  const uint32_t ticket = wake_.load();
  sleepers_.fetch_add(1);
  const uint64_t state = state_.load();
  if (!stop_.load() && ((state & kOpen) == 0 || generation(state) == seen)) wake_.wait(ticket);
  sleepers_.fetch_sub(1);
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  for (int spins = 0; !stop_.load(std::memory_order_relaxed);) {
    if (join_run(seen, worker)) {
      spins = 0;
    } else if (++spins < kSpins) {
      pause();
    } else {
      sleep(seen);
      spins = 0;
    }
  }
}

}  // namespace v4rt
