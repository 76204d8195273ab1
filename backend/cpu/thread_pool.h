#pragma once

#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

namespace v4rt {

// Fork-join over index ranges. The caller takes part; workers spin for a moment before they sleep, since the next
// launch of a plan follows within microseconds. A run allocates nothing. Tasks are of a size that depends on the work
// alone. Every thread has a contiguous share of them, the same one every time, so that it reads memory that it has
// written itself, and in one stream; a thread that is done takes tasks from other shares. Only one run at a time uses
// the workers: a run inside a run, or from another thread meanwhile, is done by its caller.
class ThreadPool {
 public:
  // `threads` >= 1 includes the caller. If not all can be started there are fewer, and start_error() says why.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  std::error_code start_error() const { return start_error_; }

  // body(begin, end) or body(begin, end, worker) for disjoint ranges that cover [0, count); `worker` < threads() is
  // different for each thread that takes part. `cost`: multiply-adds (or what takes as long) per index. The body must
  // not throw.
  template <class Body>
  void for_ranges(int64_t count, double cost, const Body& body) {
    if (count <= 0) return;
    const double total = static_cast<double>(count) * cost;
    if (total < kInlineWork || workers_.empty() || count == 1) return call_body<Body>(&body, 0, count, 0);
    run({call_body<Body>, &body, count, grain(count, cost)});
  }

 private:
  static constexpr double kInlineWork = 50'000;  // waking or waiting for a thread costs about as much
  static constexpr double kTaskWork = 30'000;
  static constexpr int64_t kMaxTasks = 256;

  using Call = void (*)(const void* body, int64_t begin, int64_t end, int worker);

  struct Job {
    Call call = nullptr;
    const void* body = nullptr;
    int64_t count = 0, grain = 1;
  };

  template <class Body>
  static void call_body(const void* body, int64_t begin, int64_t end, int worker) {
    const Body& fn = *static_cast<const Body*>(body);
    if constexpr (std::is_invocable_v<const Body&, int64_t, int64_t, int>) {
      fn(begin, end, worker);
    } else {
      fn(begin, end);
    }
  }

  static int64_t grain(int64_t count, double cost);
  void run(const Job& job);
  void take_part(int worker);
  void work(int worker);
  bool join_run(uint32_t& seen, int worker);
  void sleep(uint32_t seen);

  // state_: generation in the upper half; kOpen while the run may be joined; below it the number of workers taking
  // part.
  static constexpr uint64_t kOpen = uint64_t{1} << 31;
  static constexpr uint64_t kActive = kOpen - 1;

  struct alignas(64) Share {
    std::atomic<int64_t> next{0};  // the first task that nobody has taken
    int64_t end = 0;
  };
  void take_tasks(Share& share, const Job& job, int worker);

  alignas(64) std::atomic<uint64_t> state_{0};
  std::vector<Share> shares_;  // one for each thread
  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<bool> stop_{false};
  std::atomic<uint32_t> wake_{0};
  std::atomic<int> sleepers_{0};
  Job job_;
  std::error_code start_error_;
  std::vector<std::thread> workers_;
};

}  // namespace v4rt
