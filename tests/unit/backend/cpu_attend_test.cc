#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/element.h"
#include "backend/cpu/simd/pairs.h"
#include "backend/cpu/simd/tile_attend.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

// Queries and rows, and the attention of all heads to all rows: by vectors, which conformance holds against the
// reference, and by tiles.
struct Attention {
  Attention(const RowFormat& row_format, int64_t n_heads, int64_t n_rows, std::mt19937& random)
      : format(row_format), heads(n_heads), slots(n_rows), row_scales(static_cast<size_t>(n_rows), 1.0f) {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < heads * format.dim; ++i) q.push_back(normal(random));
    for (int64_t i = 0; i < slots * format.dim; ++i) rows.push_back(normal(random));
  }

  // The results, or nothing when the tiles do not take the query.
  std::vector<float> run(const simd::AttendTiles* tiles) const {
    std::vector<simd::Bf16> queries(q.size()), out(q.size());
    for (size_t i = 0; i < q.size(); ++i) simd::store(q[i], &queries[i]);
    std::vector<uint8_t> cache(static_cast<size_t>(slots * format.bytes()));
    for (int64_t r = 0; r < slots; ++r) {
      std::vector<float> row(rows.begin() + r * format.dim, rows.begin() + (r + 1) * format.dim);
      for (float& v : row) v *= row_scales[static_cast<size_t>(r)];
      encode_row(format, row, cache.data() + r * format.bytes());
    }
    std::vector<int32_t> idx;
    for (int32_t r = 0; r < slots; ++r) idx.push_back(masked(r) ? -1 : r);
    const simd::AttendView view{.cache = cache.data(), .idx = idx.data(), .width = format.bytes(), .slots = slots};
    const AttendSpec spec{.ratio = 4, .top_k = 1, .format = format, .scale = scale, .rounds = true};
    const simd::AttendFns& fns = simd::attend(DType::kBF16);
    simd::AttendState state{.dim = format.dim, .heads = heads};
    std::vector<float> memory(static_cast<size_t>(state.floats())),
        tile_memory(static_cast<size_t>(simd::AttendTiles::floats(heads, format.dim)));
    state.place(memory.data());
    fns.start(queries.data(), state);
    if (tiles != nullptr) {
      if (!tiles->add_all(spec, view, queries.data(), fns, state, tile_memory.data())) return {};
    } else {
      for (int64_t begin = 0; begin < slots; begin += simd::kAttendBlock) {
        const simd::AttendTile tile = simd::attend_block(view, begin);
        if (tile.n == 0) continue;
        simd::decode_rows(format, tile, state);
        for (int64_t unit = 0; unit < state.units(); ++unit) fns.add_block(tile, unit, spec.scale, spec.rounds, state);
      }
    }
    const std::vector<float> sink(static_cast<size_t>(heads), 0.5f);
    fns.finish(sink.data(), state, out.data());
    std::vector<float> result;
    for (const simd::Bf16& v : out) result.push_back(simd::load(&v));
    return result;
  }

  RowFormat format;
  int64_t heads, slots;
  std::vector<float> q, rows, row_scales;
  float scale = 0.1f;
  std::function<bool(int32_t)> masked = [](int32_t) { return false; };
};

const RowFormat kFormats[] = {{RowFormat::Kind::kFp8Tail, 128, 64}, {RowFormat::Kind::kBF16, 96, 0}};

void expect_same(const Attention& attention, const std::string& what) {
  std::vector<simd::DotPaths> ways{{.unit = simd::MatrixUnit::kEmulated}};
  if (simd::amx().works) ways.push_back({.unit = simd::MatrixUnit::kAmx});
  if (simd::pairs_work()) ways.push_back({.pairs = true});
  const std::vector<float> expected = attention.run(nullptr);
  for (const simd::DotPaths& paths : ways) {
    const simd::AttendTiles* tiles =
        simd::attend_tiles({.format = attention.format, .rounds = true}, DType::kBF16, paths);
    ASSERT_NE(tiles, nullptr);
    const std::vector<float> actual = attention.run(tiles);
    ASSERT_EQ(actual.size(), expected.size()) << what;
    size_t differ = 0;  // any two NaN are the same
    for (size_t i = 0; i < actual.size(); ++i)
      differ += actual[i] != expected[i] && !(std::isnan(actual[i]) && std::isnan(expected[i])) ? 1u : 0u;
    EXPECT_EQ(differ, 0u) << what << ", unit " << static_cast<int>(paths.unit);
  }
}

TEST(CpuAttendTiles, GiveTheBitsOfVectors) {
  std::mt19937 random(1);
  for (const RowFormat& format : kFormats)
    for (const int64_t heads : {1, 16, 40})
      for (const int64_t rows : {7, 64, 200, 700})
        expect_same(Attention(format, heads, rows, random), fmt::format("{} heads, {} rows", heads, rows));
}

TEST(CpuAttendTiles, PassOverMaskedSlots) {
  std::mt19937 random(2);
  for (const RowFormat& format : kFormats) {
    Attention attention(format, 40, 300, random);
    attention.masked = [](int32_t slot) { return slot % 3 == 0 || (slot >= 64 && slot < 150) || slot > 290; };
    expect_same(attention, "masked");
  }
}

// Small and large numbers, from the first block on and from a later one: weights and sums near the least numbers.
TEST(CpuAttendTiles, GoByVectorsWhereTheUnitWouldFlush) {
  std::mt19937 random(3);
  for (const RowFormat& format : kFormats) {
    for (const size_t first : {0, 130, 299}) {
      for (const float row_scale : {0x1p-40f, 0x1p-100f, 0x1p-125f, 0x1p40f, 0x1p70f, INFINITY, NAN}) {
        Attention attention(format, 40, 300, random);
        for (size_t r = first; r < attention.row_scales.size(); r += 2) attention.row_scales[r] = row_scale;
        expect_same(attention, fmt::format("rows of {} from {}", row_scale, first));
      }
      for (const float scale : {4.0f, 8.0f, 20.0f}) {  // weights down to 2^-60 and 0; maxima that leap
        Attention attention(format, 40, 300, random);
        attention.scale = scale;
        for (size_t r = 0; r < first; ++r) attention.row_scales[r] = 0x1p-9f;
        expect_same(attention, fmt::format("scores times {} from {}", scale, first));
      }
    }
  }
}

// Rows whose score is `level` times the leap, and whose values are small or zero. Results that are subnormal numbers
// show what a unit would have lost.
Attention leaps(const std::function<float(int64_t)>& level, const std::function<float(int64_t)>& value, float leap,
                std::mt19937& random) {
  constexpr int64_t kDim = 96;
  Attention attention({RowFormat::Kind::kBF16, kDim, 0}, 40, 300, random);
  attention.scale = 1;
  std::fill(attention.q.begin(), attention.q.end(), 0.0f);
  const auto half = static_cast<int64_t>(random() % 4);  // a unit of heads that leaps half as far, if there is one
  for (int64_t h = 0; h < attention.heads; ++h)
    attention.q[static_cast<size_t>(h * kDim)] = h / 16 == half ? leap / 2 : leap;
  for (int64_t r = 0; r < attention.slots; ++r) {
    float* row = attention.rows.data() + r * kDim;
    for (int64_t d = 0; d < kDim; ++d) row[d] = (row[d] < 0 ? row[d] - 1 : row[d] + 1) * value(r);  // none is smaller
    row[0] = level(r);
  }
  return attention;
}

TEST(CpuAttendTiles, GoByVectorsWhereASumBecomesTiny) {
  std::mt19937 random(5);
  const auto later = [](int64_t r) { return r < 64 ? 0.0f : (r < 128 ? 1.0f : 2.0f) - (r % 7 == 0 ? 0.0f : 0.25f); };
  const auto value = [](int64_t r) { return r < 64 ? 0x1p-31f : 0.0f; };
  for (float leap = 20; leap < 42; leap += 1)  // subnormal from 33 on
    expect_same(leaps(later, value, leap, random), fmt::format("a maximum that leaps twice by {}", leap));
}

TEST(CpuAttendTiles, RefuseWhatDoesNotFit) {
  std::mt19937 random(6);
  const auto tiles = [](const RowFormat& format, DType activation, bool rounds) {
    return simd::attend_tiles({.format = format, .rounds = rounds}, activation, {.unit = simd::MatrixUnit::kEmulated});
  };
  EXPECT_EQ(tiles(kFormats[0], DType::kF32, true), nullptr);
  EXPECT_EQ(tiles(kFormats[0], DType::kBF16, false), nullptr);
  EXPECT_EQ(tiles({RowFormat::Kind::kFp8Tail, 40, 8}, DType::kBF16, true), nullptr);
  EXPECT_EQ(tiles({RowFormat::Kind::kBF16, 40, 0}, DType::kBF16, true), nullptr);
  EXPECT_EQ(tiles({RowFormat::Kind::kF32, 64, 0}, DType::kBF16, true), nullptr);
  for (const float number : {0x1p-90f, 0x1p70f, INFINITY, NAN}) {
    Attention attention(kFormats[0], 3, 10, random);
    attention.q[7] = number;
    EXPECT_TRUE(attention.run(tiles(kFormats[0], DType::kBF16, true)).empty()) << number;
  }
}

}  // namespace
}  // namespace v4rt
