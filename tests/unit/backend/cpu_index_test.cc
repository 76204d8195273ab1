#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/integers.h"
#include "backend/cpu/simd/tile_index.h"
#include "ops/attention/attention.h"
#include "ops/core/arith.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

constexpr int64_t kDim = 128;
const RowFormat kFormat{RowFormat::Kind::kFp4, static_cast<int>(kDim), 0};

// Queries on the grid of FP4, head weights, and packed keys whose blocks of 32 lie up to 2^spread apart.
struct Numbers {
  Numbers(int64_t heads, int spread, std::mt19937& random) : q(heads * kDim), g(heads), keys(kKeys * kFormat.bytes()) {
    std::normal_distribution<float> normal;
    for (size_t at = 0; at < q.size(); at += 32) {
      for (size_t i = at; i < at + 32; ++i) q[i] = em_round_e2m1(em_clamp(2 * normal(random), 6)) * 0.25f;
    }
    for (float& v : g) v = em_bf16(normal(random));
    std::vector<float> key(kDim);
    for (int64_t j = 0; j < kKeys; ++j) {
      for (size_t i = 0; i < key.size(); ++i)
        key[i] = (i % 32 == 0 ? 3.0f : normal(random)) * em_pow2(i < 32 ? spread : 0);
      encode_row(kFormat, key, keys.data() + j * kFormat.bytes());
    }
  }

  static constexpr int64_t kKeys = 125;  // not a whole number of groups
  std::vector<float> q, g;
  std::vector<uint8_t> keys;
};

std::vector<simd::MatrixUnit> units() {
  std::vector<simd::MatrixUnit> list{simd::MatrixUnit::kNone, simd::MatrixUnit::kEmulated};
  if (simd::amx().works) list.push_back(simd::MatrixUnit::kAmx);
  return list;
}

class CpuIndexTiles : public testing::Test {
 protected:
  void SetUp() override {
    if (!simd::integers_work()) GTEST_SKIP() << "this processor does not multiply bytes";
  }

  // The scores by tiles; false if something does not fit. Keys are repeated to get more groups than are processed at
  // once.
  bool scored(const simd::IndexTiles& tiles, const Numbers& numbers, bool rounds, std::vector<float>& scores) {
    const auto heads = static_cast<int64_t>(numbers.g.size());
    std::vector<simd::Integers> integers(static_cast<size_t>(heads * kDim / 32));
    EXPECT_LE(simd::pack_index_query(numbers.q.data(), heads, kDim, integers.data()), simd::kIndexSpread);
    std::vector<float> query(static_cast<size_t>(simd::IndexTiles::query_floats(heads, kDim))),
        memory(static_cast<size_t>(simd::IndexTiles::work_floats(heads, kFormat)));
    if (!tiles.pack_query(integers.data(), numbers.g.data(), heads, kDim, rounds, query.data())) return false;
    const int64_t groups = ceil_div(Numbers::kKeys, simd::kIndexKeys);
    scores.resize(static_cast<size_t>(groups * simd::kIndexKeys));
    simd::IndexTileCall call{
        .rows = numbers.keys.data(), .keys = Numbers::kKeys, .heads = heads, .rounds = rounds, .queries = 1};
    call.query[0] = query.data();
    call.scores[0] = scores.data();
    call.memory = memory.data();
    const bool all = tiles.scores(kFormat, call, 0, groups) == groups;
    scores.resize(Numbers::kKeys);
    return all;
  }
};

TEST_F(CpuIndexTiles, GiveTheDefinedScores) {
  std::mt19937 random(3);
  for (const simd::MatrixUnit unit : units()) {
    const simd::IndexTiles* tiles = simd::index_tiles(kFormat, unit);
    ASSERT_NE(tiles, nullptr);
    for (int64_t heads : {1, 16, 50, 64, 70}) {
      for (const bool rounds : {true, false}) {
        const Numbers numbers(heads, 2, random);
        std::vector<float> expected(Numbers::kKeys), scores;
        index_scores({.format = kFormat, .rounds = rounds}, numbers.q, numbers.g, numbers.keys.data(), expected);
        ASSERT_TRUE(scored(*tiles, numbers, rounds, scores));
        EXPECT_EQ(scores, expected) << heads << " heads, rounds " << rounds;
      }
    }
  }
}

TEST_F(CpuIndexTiles, RefuseWhatDoesNotFitBytes) {
  std::mt19937 random(4);
  const simd::IndexTiles* tiles = simd::index_tiles(kFormat, simd::MatrixUnit::kEmulated);
  std::vector<float> scores;
  EXPECT_FALSE(scored(*tiles, Numbers(16, 6, random), true, scores));
  EXPECT_EQ(simd::index_tiles({RowFormat::Kind::kFp4, 96, 0}, simd::MatrixUnit::kEmulated), nullptr);
  Numbers far(1, 0, random);
  for (size_t i = 0; i < 32; ++i) far.q[i] *= 16;
  EXPECT_FALSE(scored(*tiles, far, true, scores));
  for (const float weight : {0x1p31f, 0x1p-31f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    Numbers numbers(3, 0, random);
    EXPECT_TRUE(scored(*tiles, numbers, true, scores));
    numbers.g[1] = weight;
    EXPECT_FALSE(scored(*tiles, numbers, true, scores)) << weight;
  }
}

TEST_F(CpuIndexTiles, TakeKeysUpToTheFirstThatDoNotFit) {
  std::mt19937 random(5);
  Numbers numbers(16, 0, random);
  std::vector<float> expected(Numbers::kKeys), scores;
  index_scores({.format = kFormat, .rounds = true}, numbers.q, numbers.g, numbers.keys.data(), expected);
  constexpr size_t kFit = 64;  // and then a scale that is far from the others of its key
  numbers.keys[static_cast<size_t>((kFit + 7) * kFormat.bytes() + kFormat.scale_offset())] += 4;
  for (const simd::MatrixUnit unit : units()) {
    EXPECT_FALSE(scored(*simd::index_tiles(kFormat, unit), numbers, true, scores));
    for (size_t j = 0; j < kFit; ++j) EXPECT_EQ(scores[j], expected[j]) << j;
  }
}

TEST(CpuIndexSelect, TakesTheLargestAndTheFirstAmongEquals) {
  std::mt19937 random(6);
  for (const int64_t n : {40, 1000, 5000}) {
    for (const int64_t k : {1, 16, 39}) {
      for (const int values : {1, 3, 200, 1 << 20}) {
        std::vector<float> scores(static_cast<size_t>(n));
        for (float& v : scores)
          v = static_cast<float>(static_cast<int>(random() % static_cast<unsigned>(values)) - 100);
        scores[7] = std::nanf("");
        std::vector<int32_t> order(scores.size()), indices(static_cast<size_t>(k));
        std::iota(order.begin(), order.end(), 0);
        const auto rank = [&](int32_t i) { return em_order(scores[static_cast<size_t>(i)]); };
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return rank(a) > rank(b); });
        order.resize(indices.size());
        std::sort(order.begin(), order.end());
        std::vector<uint32_t> largest(static_cast<size_t>(ceil_div(n, simd::kIndexKeys)));
        simd::order_scores(scores.data(), n, largest.data());
        simd::select_largest(reinterpret_cast<const uint32_t*>(scores.data()), largest.data(), n, k, indices.data());
        EXPECT_EQ(indices, order) << n << " scores of " << values << ", " << k;
      }
    }
  }
}

}  // namespace
}  // namespace v4rt
