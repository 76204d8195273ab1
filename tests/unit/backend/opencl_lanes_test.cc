// Kernels have two forms: lanes in a vector, or lanes as work-items. Whichever the device would use, both give the
// reference's bits.

#include <bit>
#include <cmath>
#include <random>

#include "ops/attention/attention.h"
#include "ops/layout/repack.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"
#include "ops/norm/norm.h"
#include "ops/quant/quant.h"
#include "tests/support/division.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

class OpenclLanes : public testing::TestWithParam<Lanes> {
 protected:
  void SetUp() override {
    device_ = test_opencl([](Capabilities& c) { c.lanes = GetParam(); });
    if (device_ == nullptr) GTEST_SKIP() << "no OpenCL device";
  }

  TestTensor numbers(DType dtype, const Shape& shape) {
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (float& v : values) v = std::normal_distribution<float>()(random_);
    return TestTensor({dtype, shape}, values);
  }

  TestTensor codes(DType dtype, const Shape& shape) {
    TestTensor weight({dtype, shape});
    for (std::byte& b : weight.values) b = static_cast<std::byte>(random_() & 0xf7);  // no NaN among FP8
    for (std::byte& b : weight.scales) b = static_cast<std::byte>(120 + random_() % 8);
    return weight;
  }

  // `inputs` with the given weights in rows16, repacked on the device itself.
  std::vector<TestTensor> packed(std::vector<TestTensor> inputs, std::initializer_list<size_t> weights) {
    const Repack repack(Layout::kRows16);
    for (const size_t i : weights) {
      TestTensor to(repack.infer(std::span(&inputs[i].type, 1))[0]);
      const auto bytes = run_on(*device_, repack, {inputs[i]});
      to.values = bytes[0];
      if (bytes.size() > 1) to.scales = bytes[1];
      inputs[i] = to;
    }
    return inputs;
  }

  TestTensor cache_rows(const RowFormat& format, int64_t n) {
    TestTensor rows({DType::kU8, Shape{1, n, format.bytes()}});
    std::vector<float> values(static_cast<size_t>(format.dim));
    for (int64_t i = 0; i < n; ++i) {
      for (float& v : values) v = std::normal_distribution<float>()(random_);
      encode_row(format, values, reinterpret_cast<uint8_t*>(rows.values.data()) + i * format.bytes());
    }
    return rows;
  }

  std::shared_ptr<OpenclDevice> device_;
  std::mt19937 random_{11};
};

TEST_P(OpenclLanes, RowOps) {
  const std::vector<TestTensor> x{numbers(DType::kBF16, Shape{3, 2, 192}), numbers(DType::kBF16, Shape{192})};
  EXPECT_EQ(run_on(*device_, RmsNorm(1e-6f), x)[0], run_reference(RmsNorm(1e-6f), x)[0].values);
  const FakeQuant quant(QuantGrid::kFp4, 32, 100);
  EXPECT_EQ(run_on(*device_, quant, {x[0]})[0], run_reference(quant, {x[0]})[0].values);
  const std::vector<TestTensor> power{numbers(DType::kF32, Shape{2, 64})};
  EXPECT_EQ(run_on(*device_, Hadamard(), power)[0], run_reference(Hadamard(), power)[0].values);
}

// A driver converts halves as OpenCL says; codes go by bits only where one does not.
TEST_P(OpenclLanes, CodesAreHalvesForWorkItems) {
  EXPECT_EQ(device_->decodes_by_halves(), GetParam() == Lanes::kWorkItems);
}

TEST_P(OpenclLanes, ProductsAskForLocalMemory) {
  const auto small = test_opencl([](Capabilities& c) {
    c.lanes = GetParam();
    c.local_memory = 4096;
  });
  const std::vector<TensorType> inputs{{DType::kBF16, Shape{64, 256}}, {DType::kFp8, Shape{256, 256}, Layout::kRows16}};
  const class Linear op(DType::kBF16);
  const std::vector<TensorType> outputs = op.infer(inputs);
  const Support support = small->supports({op, inputs, outputs});
  EXPECT_FALSE(support);
  EXPECT_NE(support.reason.find("bytes of local memory, there are 4096"), std::string::npos) << support.reason;
  EXPECT_TRUE(device_->supports({op, inputs, outputs}));
}

TEST_P(OpenclLanes, Linear) {
  for (const DType dtype : {DType::kFp4, DType::kFp8, DType::kBF16}) {
    for (const int64_t tokens : {1, 11, 40}) {
      const TestTensor weight =
          has_scale_plane(dtype) ? codes(dtype, Shape{100, 288}) : numbers(dtype, Shape{100, 288});
      const std::vector<TestTensor> inputs{numbers(DType::kBF16, Shape{tokens, 288}), weight};
      const class Linear op(DType::kF32);
      EXPECT_EQ(run_on(*device_, op, packed(inputs, {1}))[0], run_reference(op, inputs)[0].values)
          << info(dtype).name << " x " << tokens;
    }
  }
}

TEST_P(OpenclLanes, Experts) {
  const int64_t tokens = 13, k = 2, experts = 5, d = 64, inner = 48;
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t)
    ids.insert(ids.end(), {static_cast<int32_t>(t % 2), static_cast<int32_t>(2 + t % 3)});
  const TestTensor id({DType::kI32, Shape{tokens, k}}, ids);
  const std::vector<TestTensor> up{numbers(DType::kBF16, Shape{tokens, d}), id, numbers(DType::kF32, Shape{tokens, k}),
                                   codes(DType::kFp4, Shape{experts, inner, d}),
                                   codes(DType::kFp4, Shape{experts, inner, d})};
  EXPECT_EQ(run_on(*device_, MoeGateUp(10), packed(up, {3, 4}))[0], run_reference(MoeGateUp(10), up)[0].values);
  const std::vector<TestTensor> down{numbers(DType::kBF16, Shape{tokens, k, inner}), id,
                                     codes(DType::kFp8, Shape{experts, d, inner}),
                                     numbers(DType::kBF16, Shape{tokens, d})};
  EXPECT_EQ(run_on(*device_, MoeDown(), packed(down, {2}))[0], run_reference(MoeDown(), down)[0].values);
}

TEST_P(OpenclLanes, Attention) {
  constexpr int32_t kPosition = 230;
  const AttendSpec spec{
      .window = 40, .ratio = 4, .format = {RowFormat::Kind::kFp8Tail, 104, 20}, .scale = 0.1f, .rounds = true};
  const std::vector<TestTensor> dense{numbers(DType::kBF16, Shape{3, 9, 104}), cache_rows(spec.format, 43),
                                      numbers(DType::kF32, Shape{9}), cache_rows(spec.format, 60)};
  EXPECT_EQ(run_on(*device_, Attend(spec), dense, kPosition)[0],
            run_reference(Attend(spec), dense, kPosition)[0].values);
  const IndexSpec index{.ratio = 2, .top_k = 37, .format = {RowFormat::Kind::kFp4, 72, 0}, .rounds = true};
  const std::vector<TestTensor> keys{numbers(DType::kBF16, Shape{3, 5, 72}), numbers(DType::kBF16, Shape{3, 5}),
                                     cache_rows(index.format, 120)};
  EXPECT_EQ(run_on(*device_, IndexSelect(index), keys, kPosition)[0],
            run_reference(IndexSelect(index), keys, kPosition)[0].values);
}

// A device that does not promise correctly rounded division and square root uses those of exact_math.h.
TEST_P(OpenclLanes, OwnDivisionAndRoot) {
  const auto device = test_opencl([](Capabilities& c) {
    c.lanes = GetParam();
    c.correct_divide_sqrt = false;
  });
  const int64_t n = 1024;
  std::vector<float> any;  // of every magnitude, subnormal ones included
  for (int64_t i = 0; i < 8 * n; ++i) any.push_back(std::bit_cast<float>(static_cast<uint32_t>(random_())));
  for (float& v : any) v = std::isfinite(v) ? v : 0.0f;
  const auto expect_same = [&](const Op& op, const std::vector<TestTensor>& inputs) {
    const auto actual = run_on(*device, op, inputs);
    std::vector<TestTensor> expected = run_reference(op, inputs);
    for (size_t o = 0; o < actual.size(); ++o) {
      TestTensor result = expected[o];
      result.values = actual[o];
      const std::vector<float> a = result.numbers(), b = expected[o].numbers();
      for (size_t i = 0; i < a.size(); ++i) ASSERT_TRUE(same_number(a[i], b[i])) << op.describe() << ", " << i;
    }
  };
  expect_same(Swiglu(0), {TestTensor({DType::kF32, Shape{4, 2 * n}}, any)});
  expect_same(RmsNorm(0), {TestTensor({DType::kF32, Shape{8, n}}, any), numbers(DType::kF32, Shape{n})});
  expect_same(RouteTopK(6, 1.5f), {TestTensor({DType::kF32, Shape{32, 256}}, any), numbers(DType::kF32, Shape{256})});
  const std::vector<float> single(any.begin(), any.begin() + n);
  expect_same(RmsNorm(0), {TestTensor({DType::kF32, Shape{n, 1}}, single), numbers(DType::kF32, Shape{1})});
}

INSTANTIATE_TEST_SUITE_P(Both, OpenclLanes, testing::Values(Lanes::kVector, Lanes::kWorkItems),
                         [](const auto& info) { return info.param == Lanes::kVector ? "Vector" : "WorkItems"; });

}  // namespace
}  // namespace v4rt
