// Numbers computed outside this project, by hand or from the specification's own script.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "ops/attention/attention.h"
#include "ops/hyper/hyper.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"
#include "ops/norm/norm.h"
#include "ops/quant/quant.h"
#include "ops/rope/rope.h"
#include "tests/support/op_runner.h"

namespace v4rt {
namespace {

TensorType f32(Shape shape) { return {DType::kF32, shape}; }
TensorType bf16(Shape shape) { return {DType::kBF16, shape}; }

TEST(Golden, FakeQuantBlocks) {
  const std::vector<float> x{0.3f, 1, 3.140625f, -7.6875f, 0.00109863f, 0};
  const auto fp8 = run_reference(FakeQuant(QuantGrid::kFp8, 128), {TestTensor(bf16({1, 6}), x)})[0].numbers();
  const float expected8[] = {0.3125f, 1, 3.25f, -7.5f, 0.0010986328f, 0};
  const auto fp4 = run_reference(FakeQuant(QuantGrid::kFp4, 32), {TestTensor(bf16({1, 6}), x)})[0].numbers();
  const float expected4[] = {0, 1 * 1.0f, 3, -8, 0, 0};
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(fp8[i], expected8[i]) << i;
    EXPECT_EQ(std::abs(fp4[i]), std::abs(expected4[i])) << i;
  }
}

// Input of the quantised linears: bf16(3 sin(0.37 i + 0.1) (1 + i / 64)).
std::vector<float> wave(size_t n) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) {
    const auto d = static_cast<double>(i);
    x[i] = em_bf16(static_cast<float>(3 * std::sin(0.37 * d + 0.1) * (1 + d / 64)));
  }
  return x;
}

TEST(Golden, Fp8Linear) {
  TestTensor w({DType::kFp8, {1, 256}});
  for (size_t i = 0; i < 256; ++i) {
    w.values[i] = static_cast<std::byte>(((73 * i + 11) % 127) | ((5 * i) % 3 == 0 ? 0x80u : 0u));
  }
  w.scales = {std::byte{118}, std::byte{117}};
  const TestTensor x(bf16({1, 256}), wave(256));
  auto quantised = run_reference(FakeQuant(QuantGrid::kFp8, 128), {x});
  EXPECT_NEAR(run_reference(Linear(DType::kF32), {quantised[0], w})[0].numbers()[0], 43.0794655f, 2e-5);
  EXPECT_EQ(run_reference(Linear(DType::kBF16), {quantised[0], w})[0].numbers()[0], 43.0f);
  EXPECT_NEAR(run_reference(Linear(DType::kF32), {x, w})[0].numbers()[0], 43.0147137f, 2e-5);
}

TEST(Golden, Fp4Linear) {
  TestTensor w({DType::kFp4, {1, 128}});
  for (size_t i = 0; i < 128; ++i) w.values[i / 2] |= static_cast<std::byte>(((7 * i + 3) % 16) << (4 * (i % 2)));
  EXPECT_EQ(w.values[0], std::byte{0xa3});
  EXPECT_EQ(w.values[3], std::byte{0x4d});
  w.scales = {std::byte{125}, std::byte{126}, std::byte{124}, std::byte{127}};
  const TestTensor x(bf16({1, 128}), wave(128));
  auto quantised = run_reference(FakeQuant(QuantGrid::kFp8, 128), {x});
  EXPECT_EQ(run_reference(Linear(DType::kF32), {quantised[0], w})[0].numbers()[0], 68.75390625f);
  EXPECT_EQ(run_reference(Linear(DType::kBF16), {quantised[0], w})[0].numbers()[0], 69.0f);
}

TEST(Golden, HadamardThenFp4) {
  std::vector<float> x(128);
  for (size_t i = 0; i < 128; ++i) x[i] = em_bf16(static_cast<float>(2 * std::sin(0.7 * static_cast<double>(i) + 0.3)));
  const auto y = run_reference(Hadamard(), {TestTensor(bf16({1, 128}), x)});
  const float first[] = {0.26171875f, -0.09765625f, -0.23046875f, -0.07861328f,
                         -1.5703125f, -0.55078125f, -1.2734375f,  0.47851562f};
  auto transformed = y[0];
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(transformed.numbers()[i], first[i], 1e-7) << i;

  const RowFormat format{RowFormat::Kind::kFp4, 128, 0};
  std::vector<uint8_t> row(static_cast<size_t>(format.bytes()));
  encode_row(format, transformed.numbers(), row.data());
  const char* codes[] = {"1898dad2000829a910184aca80002119", "10186bda800031299010524a8880a121",
                         "a9a1f4631898c9b11998ebe3100839b9", "1898dad2000829a910185aca80002129"};
  const uint8_t scales[] = {126, 128, 124, 127};
  for (size_t block = 0; block < 4; ++block) {
    EXPECT_EQ(row[static_cast<size_t>(format.scale_offset()) + block], scales[block]);
    for (size_t i = 0; i < 32; ++i) {
      const size_t at = block * 32 + i;
      const unsigned code = (row[at / 2] >> (4 * (at & 1))) & 15u;
      const unsigned expected = static_cast<unsigned>(std::stoi(std::string(1, codes[block][i]), nullptr, 16));
      EXPECT_EQ(em_e2m1(code), em_e2m1(expected)) << at;  // zero has two codes
    }
  }
}

TEST(Golden, HadamardOrder) {
  std::vector<float> unit(128);
  unit[1] = 1;
  const auto y = run_reference(Hadamard(), {TestTensor(f32({1, 128}), unit)})[0].numbers();
  for (size_t i = 0; i < 128; ++i) EXPECT_NEAR(y[i], (i & 1 ? -1 : 1) / std::sqrt(128.0), 1e-7);
}

TEST(Golden, SinkhornSplit) {
  // One channel per stream, fn such that mix before scaling equals the given numbers: v = (1,1,1,1)/.., fn = mix / 4.
  std::vector<float> fn(24 * 4), base(24);
  for (size_t i = 0; i < 24; ++i) {
    const int index = static_cast<int>(i);
    base[i] = static_cast<float>(((13 * index) % 7) - 3) / 8;
    for (size_t j = 0; j < 4; ++j) fn[i * 4 + j] = static_cast<float>(((37 * index) % 11) - 5) / 16;
  }
  const std::vector<float> scale{0.5f, 0.75f, 1.25f}, ones(4, 1.0f), norm{1.0f};
  auto out = run_reference(HcPre(HyperSpec{.rms_eps = 0}),
                           {TestTensor(f32({1, 4, 1}), ones), TestTensor(f32({24, 4}), fn), TestTensor(f32({3}), scale),
                            TestTensor(f32({24}), base), TestTensor(f32({1}), norm)});
  const float expected[] = {0.2689424f, 0.5621775f, 0.6513559f, 0.4073344f, 1.0000000f, 1.3027097f,
                            0.6147160f, 0.9065237f, 0.4856128f, 0.0674347f, 0.4278701f, 0.0190814f,
                            0.1094906f, 0.4729875f, 0.0964726f, 0.3210484f, 0.3084238f, 0.0428297f,
                            0.2717507f, 0.3769949f, 0.0964717f, 0.4167472f, 0.2039057f, 0.2828744f};
  const auto mix = out[1].numbers();
  for (size_t i = 0; i < 24; ++i) EXPECT_NEAR(mix[i], expected[i], 5e-7) << i;
}

TEST(Golden, HcPostGathersColumns) {
  // comb[0][1] = 1 only: stream 1 receives stream 0.
  std::vector<float> mix(8);
  mix[2] = 0.5f;      // post[0]
  mix[4 + 1] = 1.0f;  // comb[0][1]
  const std::vector<float> f{10}, h{3, 7};
  const auto out = run_reference(HcPost(2), {TestTensor(f32({1, 1}), f), TestTensor(f32({1, 2, 1}), h),
                                             TestTensor(f32({1, 8}), mix)})[0]
                       .numbers();
  EXPECT_EQ(out[0], 5.0f);
  EXPECT_EQ(out[1], 3.0f);
}

TEST(Golden, OverlappedCompression) {
  // The norm of one channel, x / sqrt(x^2 + eps), is undone with a large eps.
  const float eps = 100;
  const CompressSpec spec{
      .ratio = 4, .overlap = true, .format = {RowFormat::Kind::kF32, 1, 0}, .table = {.dims = 0}, .eps = eps};
  // Values (next half, own half), then scores likewise.
  const float own_score[] = {.5f, 0, -.5f, 0}, next_score[] = {0, 1, 0, 1};
  std::vector<float> as;
  for (int p = 0; p < 8; ++p) {
    as.insert(as.end(), {static_cast<float>(p + 1), -static_cast<float>(p + 1), next_score[p % 4], own_score[p % 4]});
  }
  const std::vector<float> ape{.1f, 0, .2f, -.1f, .3f, -.2f, .4f, -.3f}, norm{1};
  auto out = run_reference(CompressPool(spec),
                           {TestTensor(f32({8, 4}), as), TestTensor(f32({1, 8, 4})), TestTensor(f32({4, 2}), ape),
                            TestTensor(f32({1}), norm), TestTensor({DType::kU8, {1, 2, 4}})});
  float y[2];
  std::memcpy(y, out[0].values.data(), sizeof(y));
  const float expected[] = {-2.0869174f, 0.3627043f};
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(y[i] * std::sqrt(eps / (1 - y[i] * y[i])), expected[i], 2e-6);
}

TEST(Golden, AttentionWithSink) {
  const RowFormat format{RowFormat::Kind::kF32, 2, 0};
  const AttendSpec spec{.window = 3, .format = format, .scale = 1};
  const std::vector<float> q{1, 0.5f}, sink{0.25f}, rows{1, 0, 0, 1, 1, 1};
  TestTensor ring({DType::kU8, {1, 3, 8}});
  std::memcpy(ring.values.data(), rows.data(), 24);
  const auto o =
      run_reference(Attend(spec), {TestTensor(f32({1, 1, 2}), q), ring, TestTensor(f32({1}), sink)}, 2)[0].numbers();
  EXPECT_NEAR(o[0], 0.71056662f, 1e-6);
  EXPECT_NEAR(o[1], 0.60501147f, 1e-6);
}

TEST(Golden, ExpertActivationClampsBothSides) {
  const std::vector<float> x{12, -13};
  EXPECT_NEAR(run_reference(Swiglu(10), {TestTensor(f32({1, 2}), x)})[0].numbers()[0], -99.99546f, 1e-4);
}

// The bits that the release's f32 arithmetic gives: two pairs in three are the nearest float, the others are not.
TEST(Golden, RopeFrequencies) {
  constexpr uint32_t kMain[] = {0x3f800000, 0x3f3ff911, 0x3f0ff59a, 0x3ed7e89b, 0x3ea1e89b, 0x3e72d423, 0x3e361887,
                                0x3e088d77, 0x3dcccccd, 0x3d99940d, 0x3d6655c2, 0x3d2cba15, 0x3d0186e3, 0x3cc2434f,
                                0x3c91ad39, 0x3c5a7bf2, 0x3c23d70a, 0x3bf5b9b0, 0x3bb8449c, 0x3b8a2e77, 0x3b4f3e38,
                                0x3b1b690d, 0x3ae91528, 0x3aaec98e, 0x3a83126f, 0x3a44948c, 0x3a136a16, 0x39dd1725,
                                0x39a5cb60, 0x3978a815, 0x393a7753, 0x390bd472};
  constexpr uint32_t kCompress[] = {0x3f800000, 0x3f300a3a, 0x3ef21c1f, 0x3ea67d01, 0x3e64f92e, 0x3e1d7475, 0x3dd88cb4,
                                    0x3d94e963, 0x3d4ccccd, 0x3d0cd4fb, 0x3cc1b019, 0x3c8530ce, 0x3c372dbf, 0x3bfbed88,
                                    0x3bad3d5e, 0x3b6e4237, 0x3b147ae1, 0x3ab714e0, 0x3a5ebdb6, 0x3a0530ce, 0x399bb3af,
                                    0x39305978, 0x38be904d, 0x383e9b5f, 0x37a3d70c, 0x36b443d0, 0x3677eba6, 0x362a7be8,
                                    0x35ea77ff, 0x35a13bdc, 0x355dbf30, 0x35187c4d};
  const auto main = RopeTable{.dims = 64}.frequencies();
  const auto compress = RopeTable{.dims = 64, .theta = 160000, .factor = 16, .original_context = 65536}.frequencies();
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(main[i]), kMain[i]) << i;
    EXPECT_EQ(std::bit_cast<uint32_t>(compress[i]), kCompress[i]) << i;
  }
}

TEST(Golden, RopeInverseUndoesIt) {
  const RopeTable table{.dims = 4};
  const std::vector<float> x{9, 1, 2, 3, 4};
  auto y = run_reference(RopeTail(table, false), {TestTensor(f32({1, 5}), x)}, 5);
  EXPECT_EQ(y[0].numbers()[0], 9.0f);
  EXPECT_NEAR(y[0].numbers()[1], 1 * 0.2836621855 - 2 * -0.9589242747, 1e-6);
  const auto back = run_reference(RopeTail(table, true), {y[0]}, 5)[0].numbers();
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(back[i], x[i], 1e-6);
}

TEST(Golden, PackedRowsKeepWhatFakeQuantMade) {
  const RowFormat format{RowFormat::Kind::kFp8Tail, 512, 64};
  EXPECT_EQ(format.bytes(), 584);
  EXPECT_EQ((RowFormat{RowFormat::Kind::kFp4, 128, 0}.bytes()), 68);
  std::vector<float> x(512);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] =
        em_bf16(static_cast<float>(std::sin(static_cast<double>(i * i)) * std::exp(std::cos(static_cast<double>(i)))));
  fake_quant_row(std::span(x).first(448), QuantGrid::kFp8, 64);
  std::vector<uint8_t> row(584);
  encode_row(format, x, row.data());
  std::vector<float> back(512);
  decode_row(format, row.data(), back);
  EXPECT_EQ(back, x);
}

}  // namespace
}  // namespace v4rt
