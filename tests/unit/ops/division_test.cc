// Division and root of exact_math.h for devices that do not round them correctly. tests/exhaustive has more of each.

#include "tests/support/division.h"

#include <gtest/gtest.h>

namespace v4rt {
namespace {

TEST(Division, RightForEveryErrorOfTheDevice) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 3'000'000; ++i) {
    const float a = any_number(random), b = any_number(random);
    const int error = i % (2 * kDivisionError + 1) - kDivisionError;
    ASSERT_TRUE(same_number(divided(a, b, error), a / b)) << std::hexfloat << a << " / " << b << ", error " << error;
  }
}

TEST(Division, WhatRoundsHardest) {
  const float largest = em_float(0x7f7fffffu), least = em_float(1u), normal = em_float(0x00800000u);
  const float tie = 3 * least,
              numbers[] = {0.0f,    1.0f,  2.0f, 3.0f,   0x1.fffffep+0f, 0x1.000002p+0f, 0x1.fffffcp+0f,
                           largest, least, tie,  normal, normal - least, INFINITY,       NAN};
  for (float a : numbers) {
    for (float b : numbers) {
      for (float sign : {1.0f, -1.0f}) {
        for (int error = -kDivisionError; error <= kDivisionError; ++error) {
          ASSERT_TRUE(same_number(divided(sign * a, b, error), sign * a / b)) << sign * a << " / " << b;
          ASSERT_TRUE(same_number(divided(a, sign * b, error), a / (sign * b))) << a << " / " << sign * b;
        }
      }
    }
  }
  EXPECT_EQ(em_bits(divided(-0.0f, 5.0f, 0)), 0x80000000u);
  EXPECT_EQ(em_bits(divided(tie, 2.0f, 0)), 2u);  // 1.5 of the least number: to even
  EXPECT_EQ(em_bits(divided(least, 2.0f, 0)), 0u);
  EXPECT_EQ(divided(largest, 0.5f, 0), INFINITY);
}

TEST(Division, RootOfEveryRadicand) {
  for (uint32_t u = 0x3f800000u; u < 0x40800000u; ++u) {  // [1, 4): every mantissa, with an even and an odd exponent
    const float x = em_float(u), right = std::sqrt(x);
    for (int error : {-kRootError, static_cast<int>(u % 7) - 3, kRootError}) {
      ASSERT_EQ(em_bits(root(x, error)), em_bits(right)) << std::hexfloat << x << ", error " << error;
    }
  }
}

TEST(Division, RootOfEveryExponent) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 1'000'000; ++i) {
    const float x = any_number(random);
    const int error = i % (2 * kRootError + 1) - kRootError;
    ASSERT_TRUE(same_number(root(x, error), std::sqrt(x))) << std::hexfloat << x << ", error " << error;
  }
  EXPECT_EQ(em_bits(root(-0.0f, 0)), 0x80000000u);
  EXPECT_EQ(root(INFINITY, 0), INFINITY);
  EXPECT_TRUE(std::isnan(root(-INFINITY, 0)));
}

}  // namespace
}  // namespace v4rt
