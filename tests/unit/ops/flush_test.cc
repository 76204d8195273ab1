// Results that do not hang on subnormal numbers, where these are taken for zero.

#include "tests/support/flush.h"

#include <gtest/gtest.h>

#include <cmath>

namespace v4rt {
namespace {

// Every 997th float; tests/exhaustive has them all.
TEST(Flush, ProcessorsThatTakeSubnormalNumbersForZeroGiveTheSameBits) {
  std::vector<float> halved(1);
  if (!apply_flushing([](float x) { return 0.5f * x; }, {0x1p-126f}, halved)) GTEST_SKIP() << "no such mode";
  ASSERT_EQ(halved[0], 0.0f);
  for (const auto& [name, function] : kOfOne) EXPECT_EQ(count_flushed(function, 0, 997), 0) << name;
}

TEST(Flush, WhatIsSmallIsZeroWithoutASign) {
  EXPECT_EQ(em_flush(0x1p-60f), 0x1p-60f);
  EXPECT_EQ(em_flush(-0x1p-60f), -0x1p-60f);
  for (const float small : {-0.0f, 0x1.fffffep-61f, -0x1.fffffep-61f, -0x1p-149f})
    EXPECT_EQ(em_bits(em_flush(small)), 0u) << small;
  EXPECT_TRUE(std::isnan(em_flush(NAN)));
  EXPECT_EQ(em_flush(-INFINITY), -INFINITY);

  EXPECT_GT(em_sigmoid(-41.58f), 0.0f);
  EXPECT_EQ(em_sigmoid(-41.6f), 0.0f);
  EXPECT_EQ(em_bits(em_silu(-50.0f)), 0u);
  EXPECT_EQ(em_swiglu(-40.0f, 0x1p-40f, 0.0f), 0.0f);
  EXPECT_NEAR(em_swiglu(4.0f, -3.0f, 2.0f), 2 / (1 + std::exp(-2.0)) * -2, 1e-6);
  EXPECT_NEAR(em_swiglu(4.0f, -3.0f, 0.0f), 4 / (1 + std::exp(-4.0)) * -3, 1e-6);
  EXPECT_EQ(em_softplus(-87.0f), em_exp(-87.0f));
}

// 0 from where e^x is below 2^-60 on, and no other number is.
TEST(Flush, WeightsAreExponentialsDownToTheBound) {
  for (uint32_t u = em_bits(-41.0f); u < em_bits(-42.0f); ++u)
    ASSERT_EQ(em_weight(em_float(u)), em_flush(em_exp(em_float(u)))) << em_float(u);
  EXPECT_EQ(em_weight(-INFINITY), 0.0f);
  EXPECT_EQ(em_weight(0.0f), 1.0f);
  EXPECT_EQ(em_weight(1.0f), em_exp(1.0f));
  EXPECT_TRUE(std::isnan(em_weight(NAN)));
}

// Blocks of zeros have the least scale of an FP4 block, 2^-126.
TEST(Flush, TheLeastScale) {
  EXPECT_EQ(em_fp4_scale(0u), 1u);
  EXPECT_EQ(em_fp4_scale(em_bits(6 * 0x1p-126f)), 1u);
  EXPECT_EQ(em_fp4_scale(em_bits(6 * 0x1p-126f) + 1), 2u);
}

}  // namespace
}  // namespace v4rt
