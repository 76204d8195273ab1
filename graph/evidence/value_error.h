#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ops/attention/row_format.h"
#include "ops/core/tensor.h"

namespace v4rt {

// How the numbers of one result differ from those expected. Every NaN is equal to every other.
struct ValueError {
  // Of the numbers that differ, by how many representable numbers of their type they are apart (whole numbers: by how
  // much): up to each of these, more, or one of the two is not finite.
  static constexpr std::array<int64_t, 6> kUlps = {1, 2, 4, 16, 256, 65536};
  static constexpr size_t kMore = kUlps.size(), kNotFinite = kMore + 1;

  int64_t values = 0, different = 0;
  double largest = 0;                        // |actual - expected|, of finite numbers
  double squares = 0, expected_squares = 0;  // sums of (actual - expected)^2 and of expected^2
  std::array<int64_t, kUlps.size() + 2> ulps = {};

  bool equal() const { return different == 0; }
  double normalised() const;  // root of squares / expected_squares
  ValueError& operator+=(const ValueError& other);
};

// Of a tensor of `type` (F32, BF16, F16, I32). Bytes (U8) are rows of `rows` if that has a dimension, else whole
// numbers.
ValueError compare_values(const TensorType& type, const RowFormat& rows, std::span<const std::byte> expected,
                          std::span<const std::byte> actual);

}  // namespace v4rt
