#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/thread_pool.h"
#include "ops/core/error.h"
#include "ops/core/host.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr double kHeavy = 1e6;  // per index: always worth several threads

// How often each index of [0, count) is handed out.
std::vector<int> visits(ThreadPool& pool, int64_t count, double cost) {
  std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
  pool.for_ranges(count, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  return {seen.begin(), seen.end()};
}

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count : {0, 1, 2, 7, 255, 256, 257, 5000}) {
      for (double cost : {0.5, 100.0, kHeavy}) {
        EXPECT_EQ(visits(pool, count, cost), std::vector<int>(static_cast<size_t>(count), 1))
            << threads << " " << count << " " << cost;
      }
    }
  }
}

TEST(ThreadPool, SmallWorkStaysOnTheCaller) {
  ThreadPool pool(4);
  const auto caller = std::this_thread::get_id();
  pool.for_ranges(1000, 10.0, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 1000);
  });
}

TEST(ThreadPool, RangesDoNotDependOnTheNumberOfThreads) {
  const auto ranges = [](int threads) {
    ThreadPool pool(threads);
    std::vector<int64_t> ends(1000, 0);
    pool.for_ranges(1000, 5000.0, [&](int64_t begin, int64_t end) { ends[static_cast<size_t>(begin)] = end; });
    return ends;
  };
  EXPECT_EQ(ranges(2), ranges(5));
}

TEST(ThreadPool, WorkersAreTellable) {
  ThreadPool pool(3);
  std::atomic<int> inside[3] = {};
  std::atomic<bool> clash{false};
  for (int run = 0; run < 200; ++run) {
    pool.for_ranges(64, kHeavy, [&](int64_t, int64_t, int worker) {
      ASSERT_GE(worker, 0);
      ASSERT_LT(worker, 3);
      if (inside[worker].fetch_add(1) != 0) clash = true;
      inside[worker].fetch_sub(1);
    });
  }
  EXPECT_FALSE(clash);
}

TEST(ThreadPool, OthersTakePart) {
  ThreadPool pool(2);
  std::atomic<bool> other{false};
  const auto caller = std::this_thread::get_id();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!other && std::chrono::steady_clock::now() < deadline) {
    pool.for_ranges(64, kHeavy, [&](int64_t, int64_t) {
      if (std::this_thread::get_id() != caller) other = true;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    });
  }
  EXPECT_TRUE(other);
}

TEST(ThreadPool, WakesAfterSleep) {
  ThreadPool pool(3);
  for (int run = 0; run < 20; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(visits(pool, 500, kHeavy), std::vector<int>(500, 1));
  }
}

TEST(ThreadPool, NestedRunsGoInline) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  pool.for_ranges(20, kHeavy, [&](int64_t begin, int64_t end) {
    const auto outer = std::this_thread::get_id();
    for (int64_t i = begin; i < end; ++i) {
      pool.for_ranges(30, kHeavy, [&](int64_t first, int64_t last) {
        EXPECT_EQ(std::this_thread::get_id(), outer);
        sum += last - first;
      });
    }
  });
  EXPECT_EQ(sum, 20 * 30);
}

TEST(ThreadPool, SeveralCallersAtOnce) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int run = 0; run < 300; ++run) {
        std::vector<int> seen(97, 0);
        pool.for_ranges(97, kHeavy, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        if (seen != std::vector<int>(97, 1)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these need all the address space there is
// For a process of its own: limits address space to `room` bytes more than it uses now.
void limit_address_space(size_t room) {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t bytes = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + room;
  const rlimit limit{bytes, bytes};
  setrlimit(RLIMIT_AS, &limit);
}

TEST(ThreadPoolDeathTest, WorksWithThoseThatCanBeStarted) {
  const auto body = [] {
    limit_address_space(size_t{64} << 20);  // some stacks of 8 MiB
    ThreadPool pool(100);
    const bool fewer = pool.threads() < 100 && pool.start_error();
    std::exit(fewer && visits(pool, 500, kHeavy) == std::vector<int>(500, 1) ? 0 : 1);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

TEST(ThreadPoolDeathTest, ADeviceOwesOnlyTheThreadsThatWereAskedFor) {
  if (usable_processors() < 2) GTEST_SKIP() << "one processor";
  const auto body = [](int threads) {
    std::string notice;
    log::set_sink([&](log::Level, std::string_view text) { notice = text; });
    const auto device = create_cpu_device(threads);
    limit_address_space(size_t{1} << 20);
    try {
      device->create_queue();
      std::fprintf(stderr, "notice: %s\n", notice.c_str());
    } catch (const Error& e) {
      std::fprintf(stderr, "error: %s\n", e.what());
    }
    std::exit(0);
  };
  EXPECT_EXIT(body(0), testing::ExitedWithCode(0), "notice: cpu: 1 of [0-9]+ threads could be started");
  EXPECT_EXIT(body(2), testing::ExitedWithCode(0), "error: cpu: 1 of 2 threads could be started: .*; ask for fewer");
}
#endif

}  // namespace
}  // namespace v4rt
