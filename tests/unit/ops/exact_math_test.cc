#include "ops/core/exact_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <vector>

#include "ops/core/exact_sum.h"

namespace v4rt {
namespace {

// Error in units of the last place of the float nearest to the exact value.
double ulps(float got, double exact) {
  const float nearest = static_cast<float>(exact);
  const double ulp = std::abs(static_cast<double>(std::nextafter(nearest, INFINITY)) - nearest);
  return std::abs(got - exact) / ulp;
}

TEST(ExactMath, ExpIsWithinOneUlp) {
  double worst = 0;
  for (double x = -87.3; x < 88.7; x += 0.00137) {
    const auto f = static_cast<float>(x);
    worst = std::max(worst, ulps(em_exp(f), std::exp(static_cast<double>(f))));
  }
  EXPECT_LT(worst, 1.0);
  EXPECT_EQ(em_exp(0.0f), 1.0f);
  EXPECT_EQ(em_exp(-200.0f), 0.0f);
  EXPECT_EQ(em_exp(-INFINITY), 0.0f);
  EXPECT_EQ(em_exp(89.0f), INFINITY);
  EXPECT_TRUE(std::isfinite(em_exp(88.7f)));
}

TEST(ExactMath, SineAndCosineHoldToAMillion) {
  double worst = 0;
  for (const double scale : {1.0, 100.0, 1e4, 1048576.0}) {
    for (int i = 0; i < 20000; ++i) {
      const auto x = static_cast<float>(scale * i / 20000.0);
      worst = std::max(worst, std::abs(em_sin(x) - std::sin(static_cast<double>(x))));
      worst = std::max(worst, std::abs(em_cos(x) - std::cos(static_cast<double>(x))));
    }
  }
  EXPECT_LT(worst, 1.2e-7);
  EXPECT_NEAR(em_cos(5.0f), 0.2836621855, 1e-7);
  EXPECT_NEAR(em_sin(5.0f), -0.9589242747, 1e-7);
}

TEST(ExactMath, SoftplusAndItsRoot) {
  for (float z = -30; z < 30; z += 0.0173f)
    EXPECT_LT(ulps(em_softplus(z), std::log1p(std::exp(static_cast<double>(z)))), 3.0) << z;
  const float golden[][2] = {{-2, 0.3562696f}, {-1, 0.5596979f}, {0, 0.8325546f},
                             {1, 1.1459763f},  {2, 1.4583991f},  {25, 5.0f}};
  for (const auto& [z, s] : golden) EXPECT_NEAR(em_sqrt(em_softplus(z)), s, 2e-7);
}

TEST(ExactMath, SiluMatchesItsDefinition) {
  for (float x = -20; x < 20; x += 0.011f) {
    const double d = x;
    EXPECT_NEAR(em_silu(x), d / (1 + std::exp(-d)), 1e-6 * (1 + std::abs(d)));
  }
}

TEST(ExactMath, Bf16RoundsToNearestEven) {
  EXPECT_EQ(em_bf16(1.0f), 1.0f);
  EXPECT_EQ(em_bf16(em_float(0x3f808000u)), 1.0f);                   // tie, even below
  EXPECT_EQ(em_bf16(em_float(0x3f818000u)), em_float(0x3f820000u));  // tie, even above
  EXPECT_EQ(em_bf16(em_float(0x3f808001u)), em_float(0x3f810000u));
  EXPECT_EQ(em_bf16(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(em_bf16(NAN)));
}

TEST(ExactMath, E4M3CodesRoundTrip) {
  for (em_uint code = 0; code < 256; ++code) {
    if ((code & 0x7fu) == 0x7fu) continue;  // NaN is refused at load
    const float value = em_e4m3(code);
    EXPECT_EQ(em_round_e4m3(value), value);
    EXPECT_EQ(em_e4m3_code(value), code);
  }
  EXPECT_EQ(em_e4m3(0x7e), 448.0f);
  EXPECT_EQ(em_e4m3(0x08), 0x1p-6f);
  EXPECT_EQ(em_e4m3(0x01), 0x1p-9f);
}

TEST(ExactMath, E4M3RoundsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const float v =
        std::ldexp(static_cast<float>(random() % 20001) / 10000.0f - 1.0f, static_cast<int>(random() % 20) - 11);
    float best = 0, distance = INFINITY;
    for (em_uint code = 0; code < 256; ++code) {
      if ((code & 0x7fu) == 0x7fu) continue;
      const float d = std::abs(em_e4m3(code) - v);
      const bool tie = d == distance && (code & 1u) == 0;
      if (d < distance || tie) best = em_e4m3(code), distance = d;
    }
    EXPECT_EQ(em_round_e4m3(v), best) << v;
  }
}

TEST(ExactMath, E2M1Thresholds) {
  const float cases[][2] = {{0.25f, 0}, {0.26f, 0.5f}, {0.75f, 1}, {1.25f, 1}, {1.26f, 1.5f}, {1.75f, 2},
                            {2.5f, 2},  {2.51f, 3},    {3.5f, 4},  {5, 4},     {5.1f, 6},     {6, 6}};
  for (const auto& [v, expected] : cases) {
    EXPECT_EQ(em_round_e2m1(v), expected) << v;
    EXPECT_EQ(em_round_e2m1(-v), -expected) << v;
  }
  const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (em_uint code = 0; code < 8; ++code) {
    EXPECT_EQ(em_e2m1(code), values[code]);
    EXPECT_EQ(em_e2m1(code | 8u), -values[code]);
    EXPECT_EQ(em_e2m1_code(values[code]), code);
    EXPECT_EQ(em_e2m1_code(-values[code]), code | 8u);
  }
}

// Spec section 3.4: the scale puts the maximum into (224, 448] or (3, 6], for every bf16 maximum.
TEST(ExactMath, ScalesFitEveryMaximum) {
  for (uint32_t upper = 0x3900; upper < 0x7f00; ++upper) {
    const float a = em_float(upper << 16);
    if (a >= 1e-4f) {
      const float r = a * em_inverse_scale(em_fp8_scale(em_magnitude(a)));
      ASSERT_TRUE(r > 224.0f && r <= 448.0f) << a;
    }
    const float r = a * em_inverse_scale(em_fp4_scale(em_magnitude(a)));
    ASSERT_TRUE(r > 3.0f && r <= 6.0f) << a;
  }
  EXPECT_EQ(em_e8m0(em_fp8_scale(0u)), 0x1p-22f);
}

TEST(ExactMath, E8M0) {
  EXPECT_EQ(em_e8m0(127), 1.0f);
  EXPECT_EQ(em_e8m0(0), 0x1p-127f);
  EXPECT_EQ(em_e8m0(254), 0x1p127f);
}

// Blocks of 32, two chains of 16 each: small numbers count where a chain brings two of them together before 1 comes in.
TEST(ExactMath, DotAddsChainsThenBlocks) {
  std::vector<float> x(40, 0.0f);
  const std::vector<float> one(x.size(), 1.0f);
  x[0] = 1;
  x[1] = 0x1p-24f;  // to 1: a tie, which goes to 1
  EXPECT_EQ(dot(x, one), 1.0f);
  x[16] = x[17] = 0x1p-24f;  // to each other
  EXPECT_EQ(dot(x, one), 1.0f + 0x1p-23f);
  x[32] = x[33] = 0x1p-24f;  // the next block
  EXPECT_EQ(dot(x, one), 1.0f + 0x1p-22f);
  x[39] = -1;
  EXPECT_EQ(dot(x, one), 0x1p-22f);  // 2^-23 - 1 is exact
  const std::vector<float> third{1.0f / 3}, three{3.0f};
  EXPECT_EQ(dot(third, three), 1.0f);
  EXPECT_EQ(dot({}, {}), 0.0f);
}

TEST(ExactMath, NotANumberStaysOne) {
  for (const float nan : {NAN, -NAN, em_float(0x7f800001u)}) {
    EXPECT_TRUE(std::isnan(em_exp(nan)));
    EXPECT_TRUE(std::isnan(em_silu(nan)));
    EXPECT_TRUE(std::isnan(em_softplus(nan)));
    EXPECT_TRUE(std::isnan(em_clamp(nan, 10)));
    EXPECT_TRUE(std::isnan(em_min(10, nan)) && std::isnan(em_max(-10, nan)));
    EXPECT_EQ(em_max(nan, 3), 3.0f);  // a running maximum passes over it
    EXPECT_EQ(em_bits(em_canonical(nan)), 0x7fc00000u);
    EXPECT_EQ(em_e4m3_code(nan), 0u);
    EXPECT_EQ(em_e2m1_code(nan), 0u);
  }
  EXPECT_EQ(em_bits(em_canonical(-0.0f)), 0x80000000u);
  EXPECT_EQ(em_canonical(-INFINITY), -INFINITY);
}

TEST(ExactMath, OrderIsTotal) {
  const float ascending[] = {-INFINITY, -3e38f, -1.0f, -1e-45f, 0.0f, 1e-45f, 1.0f, 3e38f, INFINITY};
  for (size_t i = 1; i < std::size(ascending); ++i) EXPECT_LT(em_order(ascending[i - 1]), em_order(ascending[i]));
  EXPECT_EQ(em_order(-0.0f), em_order(0.0f));
  EXPECT_EQ(em_order(NAN), em_order(-INFINITY));
  EXPECT_EQ(em_order(-NAN), em_order(-INFINITY));
}

// One number that is not finite makes its block one of NaN, whatever the others are.
TEST(ExactMath, BlocksThatAreNotFinite) {
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    const em_uint scales[] = {em_fp8_scale(em_magnitude(bad)), em_fp4_scale(em_magnitude(bad))};
    for (const em_uint scale : scales) {
      EXPECT_EQ(scale, 255u);
      for (const float v : {0.0f, -1.0f, 3e38f, bad}) {
        EXPECT_TRUE(std::isnan(em_fake_fp8(v, scale))) << v;
        EXPECT_TRUE(std::isnan(em_fake_fp4(v, scale))) << v;
        const em_uint code = em_e4m3_code(em_round_e4m3(em_clamp(v * em_inverse_scale(scale), 448.0f)));
        EXPECT_TRUE(std::isnan(em_e4m3(code) * em_e8m0(scale))) << v;
      }
    }
  }
  EXPECT_LT(em_fp4_scale(em_magnitude(std::numeric_limits<float>::max())), 254u);
}

}  // namespace
}  // namespace v4rt
