// What ARM's instructions for bf16 compute, where exact_math.h's dot is a chain of fma. They are not used: those that
// keep its bits do the work of one fma.
#include <gtest/gtest.h>

#ifdef __aarch64__
#include <arm_neon.h>
#include <sys/auxv.h>

#include <array>
#include <cstdint>
#include <random>

#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

constexpr unsigned long kHasBf16 = 1ul << 14;  // HWCAP2_BF16

struct Sums {
  std::array<float, 4> lower, upper, both;
};

__attribute__((target("arch=armv8.2-a+bf16"))) Sums sums(const uint16_t* a, const uint16_t* b, const float* c) {
  const auto load = [](const uint16_t* p) __attribute__((target("arch=armv8.2-a+bf16"))) {
    return vreinterpretq_bf16_u16(vld1q_u16(p));
  };
  Sums out;
  vst1q_f32(out.lower.data(), vbfmlalbq_f32(vld1q_f32(c), load(a), load(b)));
  vst1q_f32(out.upper.data(), vbfmlaltq_f32(vld1q_f32(c), load(a), load(b)));
  vst1q_f32(out.both.data(), vbfdotq_f32(vld1q_f32(c), load(a), load(b)));
  return out;
}

TEST(CpuBf16, OfArmTheLongProductsAreFmaAndTheDotIsNot) {
  if ((getauxval(AT_HWCAP2) & kHasBf16) == 0) GTEST_SKIP() << "no bf16 instructions";
  std::mt19937 random(1);
  int same_dots = 0;
  constexpr int kRuns = 100000;
  for (int run = 0; run < kRuns; ++run) {
    const unsigned least = run % 4 == 0 ? 40 : 115;  // results that are subnormal, or of the usual size
    const auto number = [&] { return static_cast<uint16_t>((random() & 0x807fu) | ((least + random() % 25u) << 7)); };
    uint16_t a[8], b[8];
    float c[4];
    for (int i = 0; i < 8; ++i) {
      a[i] = number();
      b[i] = number();
    }
    for (float& one : c) one = em_float(random() & (least == 40 ? 0x80ffffffu : 0xbfffffffu));
    const Sums got = sums(a, b, c);
    for (int i = 0; i < 4; ++i) {
      const auto product = [&](int at, float sum) {
        return em_fma(em_float(uint32_t{a[at]} << 16), em_float(uint32_t{b[at]} << 16), sum);
      };
      const float lower = product(2 * i, c[i]), upper = product(2 * i + 1, c[i]);
      EXPECT_EQ(em_bits(got.lower[static_cast<size_t>(i)]), em_bits(lower));
      EXPECT_EQ(em_bits(got.upper[static_cast<size_t>(i)]), em_bits(upper));
      const uint32_t both = em_bits(got.both[static_cast<size_t>(i)]);
      same_dots += both == em_bits(product(2 * i + 1, lower)) || both == em_bits(product(2 * i, upper)) ? 1 : 0;
    }
  }
  EXPECT_LT(same_dots, 4 * kRuns * 3 / 4);
}

}  // namespace
}  // namespace v4rt
#endif
