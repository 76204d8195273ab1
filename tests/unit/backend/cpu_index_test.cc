#include <gtest/gtest.h>

#include <random>

#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/integers.h"
#include "backend/cpu/simd/tile_index.h"
#include "ops/attention/attention.h"
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

  static constexpr int64_t kKeys = 29;  // not all that are scored together
  std::vector<float> q, g;
  std::vector<uint8_t> keys;
};

std::vector<simd::MatrixUnit> units() {
  std::vector<simd::MatrixUnit> list{simd::MatrixUnit::kEmulated};
  if (simd::amx().works) list.push_back(simd::MatrixUnit::kAmx);
  return list;
}

class CpuIndexTiles : public testing::Test {
 protected:
  void SetUp() override {
    if (!simd::integers_work()) GTEST_SKIP() << "this processor does not multiply bytes";
  }

  // The scores by tiles; false when the keys do not fit.
  bool scored(const simd::IndexTiles& tiles, const Numbers& numbers, bool rounds, float* scores) {
    const auto heads = static_cast<int64_t>(numbers.g.size());
    std::vector<simd::Integers> integers(static_cast<size_t>(heads * kDim / 32));
    EXPECT_LE(simd::pack_index_query(numbers.q.data(), heads, kDim, integers.data()), simd::kIndexSpread);
    std::vector<float> query(static_cast<size_t>(simd::IndexTiles::query_floats(heads, kDim))),
        keys(static_cast<size_t>(simd::IndexTiles::keys_floats(kDim))), scales(simd::kIndexKeys * kDim / 32);
    EXPECT_TRUE(tiles.pack_query(integers.data(), heads, kDim, query.data()));
    std::vector<uint32_t> words(simd::kIndexKeys * kDim / 8);
    simd::turn_fp4_words(kFormat, numbers.keys.data(), Numbers::kKeys, words.data(), scales.data());
    if (!tiles.pack_keys(words.data(), scales.data(), kDim, keys.data())) return false;
    tiles.scores(query.data(), keys.data(), kDim, numbers.g.data(), heads, rounds, scores);
    return true;
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
        std::vector<float> expected(Numbers::kKeys), scores(simd::kIndexKeys);
        index_scores({.format = kFormat, .rounds = rounds}, numbers.q, numbers.g, numbers.keys.data(), expected);
        ASSERT_TRUE(scored(*tiles, numbers, rounds, scores.data()));
        scores.resize(expected.size());
        EXPECT_EQ(scores, expected) << heads << " heads, rounds " << rounds;
      }
    }
  }
}

TEST_F(CpuIndexTiles, RefuseWhatDoesNotFitBytes) {
  std::mt19937 random(4);
  const simd::IndexTiles* tiles = simd::index_tiles(kFormat, simd::MatrixUnit::kEmulated);
  std::vector<float> scores(simd::kIndexKeys);
  EXPECT_FALSE(scored(*tiles, Numbers(16, 6, random), true, scores.data()));
  EXPECT_EQ(simd::index_tiles({RowFormat::Kind::kFp4, 96, 0}, simd::MatrixUnit::kEmulated), nullptr);
  EXPECT_EQ(simd::index_tiles(kFormat, simd::MatrixUnit::kNone), nullptr);
  std::vector<simd::Integers> far(kDim / 32);
  Numbers numbers(1, 0, random);
  for (int64_t i = 0; i < 32; ++i) numbers.q[static_cast<size_t>(i)] *= 16;
  simd::pack_index_query(numbers.q.data(), 1, kDim, far.data());
  std::vector<float> query(static_cast<size_t>(simd::IndexTiles::query_floats(1, kDim)));
  EXPECT_FALSE(tiles->pack_query(far.data(), 1, kDim, query.data()));
}

}  // namespace
}  // namespace v4rt
