#include "loaders/synthetic/random_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

using testing::Each;
using testing::Ge;
using testing::Le;

using Fill = std::function<void(const RandomValues&, int64_t offset, std::span<std::byte> out)>;

std::vector<std::byte> filled(size_t bytes, const Fill& fill, uint64_t seed = 1, std::string_view name = "a") {
  std::vector<std::byte> out(bytes);
  fill(RandomValues(seed, name), 0, out);
  return out;
}

template <class T>
std::vector<T> as(const std::vector<std::byte>& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

double mean_square(const std::vector<float>& values) {
  double sum = 0;
  for (const float v : values) sum += double{v} * v;
  return sum / static_cast<double>(values.size());
}

const Fill kFp4 = [](const auto& r, int64_t at, auto out) { r.fp4(at, out); };
const Fill kFp8 = [](const auto& r, int64_t at, auto out) { r.fp8(at, out); };
const Fill kScales = [](const auto& r, int64_t at, auto out) { r.scales(2, 0.5, at, out); };
const Fill kBf16 = [](const auto& r, int64_t at, auto out) { r.bf16(1, 0.5, at, out); };
const Fill kF32 = [](const auto& r, int64_t at, auto out) { r.f32(-1, 0.25, at, out); };
const Fill kChoices = [](const auto& r, int64_t at, auto out) { r.choices(6, 9, at, out); };

TEST(RandomValues, DependOnSeedNameAndPlaceAlone) {
  for (const Fill& fill : {kFp4, kFp8, kScales, kBf16, kF32, kChoices}) {
    const auto whole = filled(6 * 8 * 50, fill);
    EXPECT_EQ(whole, filled(whole.size(), fill));
    EXPECT_NE(whole, filled(whole.size(), fill, 2));
    EXPECT_NE(whole, filled(whole.size(), fill, 1, "b"));
    std::vector<std::byte> parts(whole.size());
    for (size_t at = 0; at < parts.size(); at += 40)
      fill(RandomValues(1, "a"), static_cast<int64_t>(at), std::span(parts).subspan(at, 40));
    EXPECT_EQ(whole, parts);
  }
}

TEST(RandomValues, MayEndInsideAWord) {
  for (const Fill& fill : {kFp4, kFp8, kScales, kBf16, kF32}) {
    const auto whole = filled(64, fill);
    for (const size_t bytes : {0u, 4u, 36u, 60u})
      EXPECT_EQ(filled(bytes, fill), std::vector(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes)));
  }
}

TEST(RandomValues, Fp4MeanSquareIsAsStated) {
  std::vector<float> values;
  for (const auto pair : as<uint8_t>(filled(1 << 18, kFp4))) {
    values.push_back(em_e2m1(pair & 15u));
    values.push_back(em_e2m1(pair >> 4));
  }
  EXPECT_NEAR(mean_square(values), RandomValues::kFp4MeanSquare, 0.05);
}

TEST(RandomValues, Fp8IsFiniteWithFewSubnormals) {
  std::vector<float> values;
  size_t subnormal = 0;
  std::set<uint8_t> codes;
  for (const uint8_t code : as<uint8_t>(filled(1 << 20, kFp8))) {
    ASSERT_NE(code & 0x7f, 0x7f);
    subnormal += (code & 0x78) == 0;
    codes.insert(code);
    values.push_back(em_e4m3(code));
  }
  EXPECT_NEAR(mean_square(values) / RandomValues::kFp8MeanSquare, 1, 0.01);
  EXPECT_GT(subnormal, 20u);  // about 75
  EXPECT_LT(subnormal, 200u);
  EXPECT_GT(codes.size(), 150u);
}

TEST(RandomValues, ScalesGiveTheDeviation) {
  for (const double deviation : {0.011, 0.0156, 0.02, 1.0}) {
    double sum = 0;
    std::set<uint8_t> exponents;
    const auto scales =
        as<uint8_t>(filled(1 << 18, [&](const auto& r, int64_t at, auto out) { r.scales(8.5, deviation, at, out); }));
    for (const uint8_t b : scales) {
      exponents.insert(b);
      sum += std::pow(double{em_e8m0(b)}, 2);
    }
    EXPECT_EQ(exponents.size(), 2u) << deviation;
    EXPECT_NEAR(std::sqrt(sum / static_cast<double>(scales.size()) * 8.5) / deviation, 1, 0.01);
  }
}

TEST(RandomValues, NumbersAreUniform) {
  const auto f32 = as<float>(filled(1 << 18, kF32));
  EXPECT_THAT(f32, Each(testing::AllOf(Ge(-1.25f), Le(-0.75f))));
  double sum = 0;
  for (const float v : f32) sum += v;
  EXPECT_NEAR(sum / static_cast<double>(f32.size()), -1, 0.004);
  EXPECT_NEAR(mean_square(f32), 1 + 0.25 * 0.25 / 3, 0.005);

  std::vector<float> bf16;
  for (const uint16_t bits : as<uint16_t>(filled(1 << 18, kBf16))) bf16.push_back(em_float(uint32_t{bits} << 16));
  EXPECT_THAT(bf16, Each(testing::AllOf(Ge(0.5f), Le(1.5f))));
  EXPECT_NEAR(mean_square(bf16), 1 + 0.5 * 0.5 / 3, 0.01);
}

TEST(RandomValues, ChoicesDiffer) {
  for (const auto& [k, n] : {std::pair<int64_t, int64_t>{6, 6}, {6, 7}, {6, 256}, {1, 3}}) {
    const auto ids =
        as<int64_t>(filled(static_cast<size_t>(k) * 8 * 1000,
                           [&, k = k, n = n](const auto& r, int64_t at, auto out) { r.choices(k, n, at, out); }));
    for (size_t row = 0; row < ids.size(); row += static_cast<size_t>(k)) {
      const std::set<int64_t> different(ids.begin() + static_cast<ptrdiff_t>(row),
                                        ids.begin() + static_cast<ptrdiff_t>(row) + k);
      ASSERT_EQ(different.size(), static_cast<size_t>(k));
    }
    EXPECT_EQ(std::set<int64_t>(ids.begin(), ids.end()).size(), static_cast<size_t>(n));
    EXPECT_THAT(ids, Each(testing::AllOf(Ge(0), testing::Lt(n))));
  }
}

}  // namespace
}  // namespace v4rt
