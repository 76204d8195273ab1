#include "ops/layout/repack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "backend/host_buffer.h"
#include "ops/core/dequant.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

// A stack of two matrices whose rows and columns are no multiples of sixteen.
TEST(Repack, DenseHoldsEveryNumberAndZeros) {
  for (const DType dtype : {DType::kFp4, DType::kFp8, DType::kBF16, DType::kF16, DType::kF32}) {
    constexpr int64_t kMatrices = 2, kN = 19, kK = 40, kRows = 32, kColumns = 48;
    const TensorType from{dtype, Shape{kMatrices, kN, kK}};
    std::vector<std::byte> values(from.bytes()), scales(from.scale_bytes());
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::byte>(i * 37 % 113);
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<std::byte>(120 + i % 9);
    const Repack op(Layout::kDense);
    const TensorType to = op.infer({&from, 1})[0];
    EXPECT_EQ(to_string(to), std::string(info(dtype).name) + "/dense [2, 19, 40]");
    EXPECT_EQ(to.scale_bytes(), 0u);
    ASSERT_EQ(to.bytes(), sizeof(float) * kMatrices * kRows * kColumns);

    std::vector<std::byte> made(to.bytes(), std::byte{0xff});
    const Tensor in{from, borrow_host(values), borrow_host(scales)}, out{to, borrow_host(made), nullptr};
    RefContext context({&in, 1}, {&out, 1}, Step{});
    op.reference(context);

    std::vector<float> numbers(static_cast<size_t>(from.shape.elements())), expected(made.size() / sizeof(float));
    dequantise(in, 0, numbers);
    for (int64_t row = 0; row < kMatrices * kN; ++row)
      std::copy_n(numbers.begin() + row * kK, kK, expected.begin() + (row / kN * kRows + row % kN) * kColumns);
    EXPECT_EQ(std::memcmp(made.data(), expected.data(), made.size()), 0) << info(dtype).name;
  }
}

TEST(Repack, OnlyOfRowsAndIntoAnotherLayout) {
  const TensorType rows{DType::kBF16, Shape{16, 16}}, dense{DType::kBF16, Shape{16, 16}, Layout::kDense};
  EXPECT_THROW(Repack(Layout::kRows).infer({&rows, 1}), Error);
  EXPECT_THROW(Repack(Layout::kDense).infer({&dense, 1}), Error);
}

}  // namespace
}  // namespace v4rt
