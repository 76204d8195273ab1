#include "backend/shared_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "ops/core/host.h"

namespace v4rt {
namespace {

// Ranges that are written to and copied at random hold what vectors hold.
TEST(SharedPages, HoldWhatWasWrittenToThem) {
  constexpr size_t kRanges = 5, kRange = 11 * 4096, kLive = kRange - 1500;
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const auto pages = SharedPages::create(kRanges * kRange, kRange);
    ASSERT_NE(pages, nullptr);
    std::vector<std::vector<std::byte>> expected(kRanges);  // as far as each is live
    const auto below = [&](size_t n) { return random() % n; };
    for (int i = 0; i < 300; ++i) {
      const size_t mine = below(kRanges), other = below(kRanges), at = mine * kRange;
      std::vector<std::byte>& live = expected[mine];
      if (below(4) == 0 && mine != other) {
        pages->copy(other * kRange, at, live.size());
        expected[other] = live;
      } else {  // is cut, and goes on
        live.resize(below(3) == 0 ? below(live.size() + 1) : live.size());
        const size_t n = below(std::min<size_t>(kLive - live.size(), 9000) + 1), begin = at + live.size();
        pages->own(begin, begin + n);
        for (size_t b = 0; b < n; ++b) live.push_back(pages->data()[begin + b] = static_cast<std::byte>(random()));
      }
      for (size_t r = 0; r < kRanges; ++r)
        ASSERT_EQ(std::memcmp(pages->data() + r * kRange, expected[r].data(), expected[r].size()), 0) << r;
    }
  }
}

TEST(SharedPages, CopiesTakeMemoryWhereTheyBecomeDifferent) {
  constexpr size_t kRange = size_t{16} << 20;
  const auto pages = SharedPages::create(4 * kRange, kRange);
  ASSERT_NE(pages, nullptr);
  std::memset(pages->data(), 1, kRange - 100);
  const size_t before = process_memory();
  const auto grown = [before] {
    const size_t now = process_memory();
    return now - std::min(now, before);
  };
  for (size_t i = 1; i < 4; ++i) {
    pages->copy(i * kRange, 0, kRange - 100);
    EXPECT_EQ(pages->data()[i * kRange + kRange - 101], std::byte{1});
    for (size_t at = 0; at < kRange - 100; at += 4096) ASSERT_EQ(pages->data()[i * kRange + at], std::byte{1});
  }
  EXPECT_LT(grown(), size_t{1} << 20);
  pages->own(kRange, 2 * kRange);
  std::memset(pages->data() + kRange, 2, kRange);
  EXPECT_GT(grown(), kRange - (size_t{1} << 20));
  pages->copy(kRange, 0, kRange - 100);  // and give it back
  EXPECT_LT(grown(), size_t{1} << 20);
}

}  // namespace
}  // namespace v4rt
