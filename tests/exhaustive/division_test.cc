// The checks of tests/unit/ops/division_test.cc for all numbers, or for very many.

#include "tests/support/division.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace v4rt {
namespace {

// check(worker, workers) on every core; it returns the number of errors.
template <class Check>
int64_t on_every_core(const Check& check) {
  const unsigned workers = std::max(1u, std::thread::hardware_concurrency());
  std::vector<int64_t> wrong(workers);
  std::vector<std::thread> threads;
  for (unsigned w = 0; w < workers; ++w) threads.emplace_back([&, w] { wrong[w] = check(w, workers); });
  for (std::thread& thread : threads) thread.join();
  int64_t total = 0;
  for (int64_t n : wrong) total += n;
  return total;
}

TEST(Division, ABillionPairs) {
  EXPECT_EQ(on_every_core([](unsigned worker, unsigned workers) {
              std::mt19937_64 random(worker);
              int64_t wrong = 0;
              for (int64_t i = worker; i < 1'000'000'000; i += workers) {
                const float a = any_number(random), b = any_number(random);
                const int error = static_cast<int>(random() % (2 * kDivisionError + 1)) - kDivisionError;
                wrong += same_number(divided(a, b, error), a / b) ? 0 : 1;
              }
              return wrong;
            }),
            0);
}

TEST(Division, EveryRadicandWithEveryError) {
  EXPECT_EQ(on_every_core([](unsigned worker, unsigned workers) {
              int64_t wrong = 0;
              for (uint32_t u = 0x3f800000u + worker; u < 0x40800000u; u += workers) {
                const float x = em_float(u), right = std::sqrt(x);
                for (int error = -kRootError; error <= kRootError; ++error) {
                  wrong += em_bits(root(x, error)) == em_bits(right) ? 0 : 1;
                }
              }
              return wrong;
            }),
            0);
}

}  // namespace
}  // namespace v4rt
