#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "backend/cpu/simd/dot.h"
#include "backend/cpu/simd/element.h"
#include "backend/cpu/simd/library_gemm.h"
#include "backend/cpu/simd/pairs.h"
#include "backend/reference/reference_device.h"
#include "ops/core/arith.h"
#include "ops/core/dequant.h"
#include "ops/core/exact_sum.h"
#include "ops/layout/repack.h"

namespace v4rt {
namespace {

// Numbers around 2^exponent, some of them zero.
std::vector<simd::Bf16> numbers(size_t n, int exponent, std::mt19937& random) {
  std::vector<simd::Bf16> x(n);
  for (simd::Bf16& v : x) {
    const auto mantissa = static_cast<float>(random() % 256) / 256.0f + 1.0f;
    const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
    simd::store(random() % 8 == 0 ? 0.0f : sign * std::ldexp(mantissa, exponent + static_cast<int>(random() % 5)), &v);
  }
  return x;
}

// A weight matrix as in a file, and the same in rows16. Of BF16, the first `ordinary` numbers of each row are not
// around 2^exponent.
struct Weight {
  Weight(DType dtype, int64_t n, int64_t k, int exponent, std::mt19937& random, int64_t ordinary = 0)
      : rows{dtype, {n, k}} {
    values.resize(rows.bytes());
    scales.resize(rows.scale_bytes(), std::byte{123});
    if (dtype == DType::kF16 || dtype == DType::kF32) {
      const auto width = static_cast<size_t>(info(dtype).block_bytes);
      for (size_t i = 0; i < values.size(); ++i) {  // the last byte of each has the sign and the upper exponent bits
        values[i] = static_cast<std::byte>(random());
        if (i % width == width - 1) values[i] = (values[i] & std::byte{0x83}) | std::byte{0x3c};
      }
    } else if (dtype == DType::kBF16) {
      auto x = numbers(values.size() / 2, exponent, random);
      for (int64_t i = 0; i < n * k; ++i)
        if (i % k < ordinary) simd::store(1.5f, &x[static_cast<size_t>(i)]);
      std::memcpy(values.data(), x.data(), values.size());
    } else {
      for (std::byte& b : values) b = static_cast<std::byte>(random() % 127 | (random() % 2) << 7);
      for (std::byte& b : scales) b = static_cast<std::byte>(115 + random() % 20);
    }
    const auto device = create_reference_device();
    const Repack repack(Layout::kRows16);
    const TensorType in[] = {rows};
    const auto out = repack.infer(in);
    packed = {out[0], device->allocate(out[0].bytes()), device->allocate(out[0].scale_bytes())};
    file = {rows, device->import_host(values), device->import_host(scales)};
    const Tensor args[] = {file, packed};
    device->create_queue()->launch(*device->compile({repack, in, out}), args, Step{});
  }

  TensorType rows;
  std::vector<std::byte> values, scales;
  Tensor file, packed;
};

// y[r][n] by every function of `fns` against the scalar definition.
void expect_exact(const simd::DotFns& fns, const Weight& w, const std::vector<simd::Bf16>& x, int64_t rows,
                  const std::string& what) {
  const int64_t n = w.rows.shape[0], k = w.rows.shape[1], groups = ceil_div(n, 16);
  std::vector<float> memory(static_cast<size_t>(fns.packed_floats(rows, k))), decoded(static_cast<size_t>(n * k)),
      row(static_cast<size_t>(k));
  fns.pack(x.data(), k, k, nullptr, rows, 0, rows, memory.data());
  const simd::Packed packed = fns.packed(memory.data(), rows, k);
  const simd::Matrix matrix = simd::matrix_of(w.packed);
  dequantise(w.file, 0, decoded);
  std::vector<float> all(static_cast<size_t>(rows * groups * 16));
  for (int64_t g = 0; g < groups; g += simd::kMatrixGroups) {
    const int64_t some = std::min(simd::kMatrixGroups, groups - g);
    std::vector<float> y(static_cast<size_t>(fns.matrix_floats()));
    fns.matrix(matrix, g, some, packed, nullptr, 0, rows, y.data());
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(y.data() + r * some * 16, some * 16, all.data() + (r * groups + g) * 16);
  }
  const int64_t few = std::min(rows, fns.few_rows), alone_floats = fns.packed_floats(1, k);
  std::vector<float> alone_memory(static_cast<size_t>(few * alone_floats)),
      alone(static_cast<size_t>(few * groups * 16));
  std::vector<simd::Packed> alone_rows;
  for (int64_t r = 0; r < few; ++r) {
    fns.pack(x.data() + r * k, k, k, nullptr, 1, 0, 1, alone_memory.data() + r * alone_floats);
    alone_rows.push_back(fns.packed(alone_memory.data() + r * alone_floats, 1, k));
  }
  fns.lone(matrix, 0, groups, alone_rows.data(), few, alone.data());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < k; ++i) row[static_cast<size_t>(i)] = simd::load(&x[static_cast<size_t>(r * k + i)]);
    for (int64_t i = 0; i < n; ++i) {
      const std::span<const float> weights(decoded.data() + i * k, static_cast<size_t>(k));
      const float expected = dot(row, weights);
      EXPECT_EQ(em_bits(all[static_cast<size_t>(r * groups * 16 + i)]), em_bits(expected))
          << what << ": matrix, row " << r << ", output " << i;
      if (r >= few) continue;
      EXPECT_EQ(em_bits(alone[static_cast<size_t>(r * groups * 16 + i)]), em_bits(expected))
          << what << ": packed alone, row " << r << ", output " << i;
    }
  }
}

// The paths of this machine, and an emulated matrix unit.
std::vector<simd::DotPaths> all_paths() {
  const simd::DotPaths possible = simd::possible_paths();
  std::vector<simd::DotPaths> list{{}, {.unit = simd::MatrixUnit::kEmulated}};
  if (possible.pairs) list.push_back({.pairs = true});
  if (possible.integers) list.push_back({.integers = true});
  if (possible.pairs && possible.integers) list.push_back({.pairs = true, .integers = true});
  if (possible.unit == simd::MatrixUnit::kAmx) list.push_back({.unit = possible.unit});
  return list;
}

TEST(CpuDot, EveryPathGivesTheSameBits) {
  std::mt19937 random(7);
  for (const simd::DotPaths& paths : all_paths()) {
    for (DType dtype : {DType::kFp8, DType::kFp4, DType::kBF16}) {
      const simd::DotFns& fns = simd::dot_fns(dtype, DType::kBF16, paths);
      const bool unit = paths.unit != simd::MatrixUnit::kNone;
      EXPECT_EQ(fns.row_tile, unit ? 16 : 1);
      if (!unit) {
        EXPECT_EQ(fns.pairs, paths.pairs);
        EXPECT_EQ(fns.integers, paths.integers && dtype == DType::kFp4);
      }
      for (int64_t k : {1, 31, 300, 1100}) {
        const Weight w(dtype, 72, k, 0, random);
        for (int64_t rows : {1, 2, 3, 5, 8, 13, 50}) {
          const auto x = numbers(static_cast<size_t>(rows * k), 0, random);
          expect_exact(fns, w, x, rows,
                       fmt::format("{} k={} rows={} pairs={} integers={} unit={}", info(dtype).name, k, rows,
                                   paths.pairs, paths.integers, static_cast<int>(paths.unit)));
        }
      }
    }
  }
}

// Blocks of 32 numbers of x that are integers of one unit, of two or three bytes, and blocks that are not: all in one
// row, and other ones in the rows beside it.
TEST(CpuDot, SumsOfIntegersAreExact) {
  if (!simd::possible_paths().integers) GTEST_SKIP() << "this processor does not multiply bytes";
  std::mt19937 random(9);
  const simd::DotFns& fns = simd::dot_fns(DType::kFp4, DType::kBF16, {.integers = true});
  constexpr int64_t kBlocks = 40, kK = 32 * kBlocks + 8, kRows = 3;
  const Weight w(DType::kFp4, 80, kK, 0, random);
  std::vector<simd::Bf16> x(kRows * kK);
  for (int64_t i = 0; i < kRows * kK; ++i) {  // that went through FP8, in wider and wider ranges; a block of zeros
    const int64_t block = (i % kK / 32 + i / kK * 11) % kBlocks;
    const float wide = std::ldexp(1.0f, -static_cast<int>(random() % static_cast<unsigned>(1 + block / 2)));
    const float value = static_cast<float>(static_cast<int>(random() % 897) - 448) * wide;
    simd::store(block == 3 ? 0.0f : em_round_e4m3(value), &x[static_cast<size_t>(i)]);
  }
  simd::store(std::ldexp(1.0f, 120), &x[32 * 5]);
  simd::store(std::ldexp(1.0f, -120), &x[32 * 6]);
  std::vector<float> memory(static_cast<size_t>(fns.packed_floats(1, kK)));
  fns.pack(x.data(), kK, kK, nullptr, 1, 0, 1, memory.data());
  const simd::Packed packed = fns.packed(memory.data(), 1, kK);
  int seen[4] = {};
  for (int64_t b = 0; b <= kBlocks; ++b) ++seen[packed.integers[b].limbs];
  EXPECT_GE(seen[0], 3);
  EXPECT_EQ(packed.integers[3].limbs, 1);
  EXPECT_GT(seen[2], 3);
  EXPECT_GT(seen[3], 3);
  EXPECT_EQ(packed.integers[5].limbs, 0);
  EXPECT_EQ(packed.integers[6].limbs, 0);
  EXPECT_EQ(packed.integers[kBlocks].limbs, 0);
  for (int64_t rows = 1; rows <= kRows; ++rows) expect_exact(fns, w, x, rows, "integers");
}

// Some instructions treat subnormal numbers as zero: blocks that could meet one take another path.
TEST(CpuDot, TinyNumbersSurvive) {
  std::mt19937 random(8);
  for (const simd::DotPaths& paths : all_paths()) {
    for (DType dtype : {DType::kFp8, DType::kFp4, DType::kBF16}) {
      const simd::DotFns& fns = simd::dot_fns(dtype, DType::kBF16, paths);
      for (const auto& [x_exponent, w_exponent] :
           {std::pair{-120, 0}, std::pair{-100, -20}, std::pair{-20, -100}, std::pair{-62, -52}}) {
        constexpr int64_t kK = 600;
        const Weight w(dtype, 16, kK, w_exponent, random, 80);
        auto x = numbers(35 * kK, x_exponent, random);
        for (int64_t i = 0; i < 32 * kK; ++i)  // ordinary numbers: sixteen rows of them, and sixteen beginnings of rows
          if (i < 16 * kK || i % kK < 520) simd::store(1.5f, &x[static_cast<size_t>(i)]);
        for (int64_t rows : {1, 13, 35})
          expect_exact(fns, w, x, rows, fmt::format("{} x 2^{} w 2^{}", info(dtype).name, x_exponent, w_exponent));
      }
    }
  }
}

// Rows in another order, with gaps.
TEST(CpuDot, RowsAreGathered) {
  std::mt19937 random(12);
  constexpr int64_t kK = 96, kRows = 20;
  const Weight w(DType::kFp8, 32, kK, 0, random);
  const auto x = numbers(7 * kK, 0, random);
  std::vector<int32_t> index(kRows);
  std::vector<simd::Bf16> gathered(kRows * kK);
  for (int64_t r = 0; r < kRows; ++r) {
    index[static_cast<size_t>(r)] = static_cast<int32_t>(r * 5 % 8) - 1;
    if (r * 5 % 8 > 0) std::copy_n(x.begin() + (r * 5 % 8 - 1) * kK, kK, gathered.begin() + r * kK);
  }
  for (const simd::DotPaths& paths : all_paths()) {
    const simd::DotFns& fns = simd::dot_fns(DType::kFp8, DType::kBF16, paths);
    std::vector<float> memory(static_cast<size_t>(fns.packed_floats(kRows, kK))), expected = memory;
    fns.pack(x.data(), kK, kK, index.data(), kRows, 0, kRows, memory.data());
    fns.pack(gathered.data(), kK, kK, nullptr, kRows, 0, kRows, expected.data());
    EXPECT_EQ(std::memcmp(memory.data(), expected.data(), memory.size() * sizeof(float)), 0);
  }
}

// Libraries sum in their own order: results are near the exact ones, for any rows and any tail of k, and a single row
// is exact.
template <class X>
void expect_near(const simd::DotFns& library, const simd::DotFns& exact, DType dtype, const std::string& what) {
  std::mt19937 random(11);
  for (int64_t k : {40, 1024, 1300}) {
    const Weight w(dtype, 72, k, 0, random);
    const simd::Matrix matrix = simd::matrix_of(w.packed);
    for (int64_t rows : {int64_t{1}, int64_t{2}, int64_t{37}, int64_t{128}}) {
      std::vector<X> x(static_cast<size_t>(rows * k));
      const auto bf16 = numbers(x.size(), 0, random);
      for (size_t i = 0; i < x.size(); ++i) simd::store(simd::load(&bf16[i]), &x[i]);
      std::vector<int32_t> order(static_cast<size_t>(rows));
      for (int64_t r = 0; r < rows; ++r) order[static_cast<size_t>(r)] = static_cast<int32_t>((r * 7 + 3) % rows);
      std::vector<float> y[2];
      for (int which : {0, 1}) {
        const simd::DotFns& fns = which == 0 ? exact : library;
        std::vector<float> memory(static_cast<size_t>(fns.packed_floats(rows, k)));
        fns.pack(x.data(), k, k, nullptr, rows, 0, rows, memory.data());
        y[which].resize(static_cast<size_t>(fns.matrix_floats()));
        fns.matrix(matrix, 0, 5, fns.packed(memory.data(), rows, k), order.data(), 0, rows, y[which].data());
        y[which].resize(static_cast<size_t>(rows * 5 * 16));
      }
      float largest = 0, difference = 0;
      for (size_t i = 0; i < y[0].size(); ++i) {
        largest = std::max(largest, std::abs(y[0][i]));
        difference = std::max(difference, std::abs(y[0][i] - y[1][i]));
      }
      EXPECT_LE(difference, rows == 1 ? 0.0f : 1e-5f * largest) << what << " k=" << k << " rows=" << rows;
      EXPECT_GT(largest, 0.0f);
    }
  }
}

TEST(CpuDot, LibraryProductsAreNear) {
  bool any = false;
  for (const simd::Library library : {simd::Library::kEigen, simd::Library::kOnednn, simd::Library::kOnednnBf16}) {
    for (DType dtype : {DType::kFp8, DType::kFp4, DType::kBF16, DType::kF16, DType::kF32}) {
      for (DType activation : {DType::kBF16, DType::kF32}) {
        const simd::DotFns* fns = simd::library_dot_fns(dtype, activation, library);
        if (fns == nullptr) continue;
        any = true;
        const simd::DotFns& exact = simd::dot_fns(dtype, activation, simd::vector_paths());
        const std::string what = fmt::format("library {}: {} by {} rows", static_cast<int>(library), info(dtype).name,
                                             info(activation).name);
        activation == DType::kBF16 ? expect_near<simd::Bf16>(*fns, exact, dtype, what)
                                   : expect_near<float>(*fns, exact, dtype, what);
      }
    }
  }
  if (!any) GTEST_SKIP() << "this build has no library";
}

}  // namespace
}  // namespace v4rt
