#include "ops/core/dtype.h"

#include <gtest/gtest.h>

#include <limits>

#include "ops/core/error.h"
#include "ops/core/tensor.h"

namespace v4rt {
namespace {

TEST(DType, RowsAreWholeBlocks) {
  EXPECT_EQ(info(DType::kF32).row_bytes(5), 20);
  EXPECT_EQ(info(DType::kFp8).row_bytes(5), 5);
  EXPECT_EQ(info(DType::kFp4).row_bytes(5), 3);
  EXPECT_EQ(info(DType::kFp4).row_bytes(0), 0);
}

// The description must also fit types with 4.5 bits per element and scales inside the blocks.
TEST(DType, BlocksWithScalesInside) {
  constexpr DTypeInfo q4_0{"q4_0", 32, 18, Scales::kBlock, 0, 0};
  EXPECT_EQ(q4_0.row_bytes(64), 36);
  EXPECT_EQ(q4_0.row_bytes(65), 54);
  EXPECT_EQ(8 * q4_0.bytes_per_element(), 4.5);
}

TEST(DType, RowsThatCannotBeAddressedAreRefused) {
  EXPECT_THROW(info(DType::kF32).row_bytes(std::numeric_limits<int64_t>::max() / 2), Error);
  EXPECT_THROW((TensorType{DType::kF32, {std::numeric_limits<int64_t>::max() / 2}}.bytes()), Error);
}

TEST(DType, ScalePlanes) {
  EXPECT_EQ((TensorType{DType::kFp8, {3, 130, 200}}.scale_bytes()), 3u * 2 * 2);
  EXPECT_EQ((TensorType{DType::kFp4, {5, 70}}.scale_bytes()), 5u * 3);
  EXPECT_EQ((TensorType{DType::kFp4, {5, 70}, Layout::kRows16}.scale_bytes()), 16u * 3);
  EXPECT_EQ((TensorType{DType::kBF16, {5, 70}}.scale_bytes()), 0u);
  EXPECT_TRUE(has_scale_plane(DType::kFp8) && has_scale_plane(DType::kFp4) && !has_scale_plane(DType::kF16));
}

}  // namespace
}  // namespace v4rt
