#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace v4rt {

// Random values as files store them. Each depends only on the seed, the name and its position, so that parts of a
// tensor can be made in any order. `offset` is that of `out` in the tensor's bytes, a multiple of eight.
class RandomValues {
 public:
  RandomValues(uint64_t seed, std::string_view name);

  // Pairs of E2M1 codes, all equally likely. Mean square of a value: kFp4MeanSquare.
  void fp4(int64_t offset, std::span<std::byte> out) const;
  // E4M3 codes of values with a triangular distribution from -kFp8Limit to kFp8Limit, without NaN. Zero and subnormal
  // codes are as rare as in trained weights.
  void fp8(int64_t offset, std::span<std::byte> out) const;
  // E8M0 bytes such that elements of mean square `mean_square` get the standard deviation `deviation`: a mixture of the
  // two powers of two around it.
  void scales(double mean_square, double deviation, int64_t offset, std::span<std::byte> out) const;
  // Uniform in center +- half_width.
  void bf16(float center, float half_width, int64_t offset, std::span<std::byte> out) const;
  void f32(float center, float half_width, int64_t offset, std::span<std::byte> out) const;
  // I64: rows of `k` different numbers below `n`.
  void choices(int64_t k, int64_t n, int64_t offset, std::span<std::byte> out) const;

  static constexpr double kFp8Limit = 440;
  static constexpr double kFp4MeanSquare = 68.5 / 8;                   // 0, 0.5, 1, 1.5, 2, 3, 4, 6
  static constexpr double kFp8MeanSquare = kFp8Limit * kFp8Limit / 6;  // before rounding to codes

 private:
  uint64_t word(uint64_t index) const;
  template <class OfWord>
  void fill(int64_t offset, std::span<std::byte> out, OfWord of_word) const;

  uint64_t key_;
};

}  // namespace v4rt
