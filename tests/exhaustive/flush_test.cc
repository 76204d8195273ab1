// The check of tests/unit/ops/flush_test.cc for all numbers.

#include "tests/support/flush.h"

#include <gtest/gtest.h>

#include <thread>

namespace v4rt {
namespace {

TEST(Flush, EveryNumber) {
  const unsigned workers = std::max(1u, std::thread::hardware_concurrency());
  for (const auto& [name, function] : kOfOne) {
    std::vector<int64_t> differ(workers);
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < workers; ++w)
      threads.emplace_back([&, w, of = function] { differ[w] = count_flushed(of, w, workers); });
    for (std::thread& thread : threads) thread.join();
    for (const int64_t n : differ) EXPECT_EQ(n, 0) << name;
  }
}

}  // namespace
}  // namespace v4rt
