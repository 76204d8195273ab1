#include "loaders/synthetic/random_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "ops/core/exact_math.h"
#include "ops/core/hash.h"

namespace v4rt {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;

// The output function of SplitMix64.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

using Fp8Table = std::array<uint8_t, 65536>;

// Entry i is the code of the i-th of 65536 equally likely values: the inverse of the triangle's distribution function.
Fp8Table make_fp8_table() {
  Fp8Table table{};
  for (size_t i = 0; i < table.size(); ++i) {
    const double u = (static_cast<double>(i) + 0.5) / static_cast<double>(table.size());
    const double x = u < 0.5 ? std::sqrt(2 * u) - 1 : 1 - std::sqrt(2 * (1 - u));
    const float value = static_cast<float>(RandomValues::kFp8Limit * x);
    table[i] = static_cast<uint8_t>(em_e4m3_code(em_round_e4m3(value)));
  }
  return table;
}

uint16_t bf16_bits(float value) { return static_cast<uint16_t>(em_bits(em_bf16(value)) >> 16); }

}  // namespace

RandomValues::RandomValues(uint64_t seed, std::string_view name) : key_(mix(mix(seed + kGolden) ^ hash_of(name)[0])) {}

uint64_t RandomValues::word(uint64_t index) const { return mix(key_ + (index + 1) * kGolden); }

// of_word(w) makes consecutive elements from one random word.
template <class OfWord>
void RandomValues::fill(int64_t offset, std::span<std::byte> out, OfWord of_word) const {
  using Elements = decltype(of_word(uint64_t{}));
  uint64_t index = static_cast<uint64_t>(offset) / sizeof(Elements);
  size_t at = 0;
  for (; at + sizeof(Elements) <= out.size(); at += sizeof(Elements)) {
    const Elements elements = of_word(word(index++));
    std::memcpy(out.data() + at, &elements, sizeof(Elements));
  }
  if (at == out.size()) return;
  const Elements elements = of_word(word(index));
  std::memcpy(out.data() + at, &elements, out.size() - at);
}

void RandomValues::fp4(int64_t offset, std::span<std::byte> out) const {
  fill(offset, out, [](uint64_t w) { return w; });
}

void RandomValues::fp8(int64_t offset, std::span<std::byte> out) const {
  static const Fp8Table table = make_fp8_table();
  fill(offset, out, [](uint64_t w) {
    std::array<uint8_t, 4> codes;
    for (size_t i = 0; i < 4; ++i) codes[i] = table[(w >> (16 * i)) & 0xffffu];
    return codes;
  });
}

// With s the power of two at or below the wanted scale: (1 - p) s^2 + p (2s)^2 = wanted^2.
void RandomValues::scales(double mean_square, double deviation, int64_t offset, std::span<std::byte> out) const {
  const double wanted = deviation / std::sqrt(mean_square);
  const int exponent = std::ilogb(wanted);
  const double ratio = std::ldexp(wanted, -exponent);  // 1 to 2
  const auto threshold = static_cast<unsigned>(256 * (ratio * ratio - 1) / 3);
  const auto lower = static_cast<unsigned>(127 + exponent);
  fill(offset, out, [=](uint64_t w) {
    std::array<uint8_t, 8> bytes;
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(lower + (((w >> (8 * i)) & 0xffu) < threshold));
    return bytes;
  });
}

void RandomValues::bf16(float center, float half_width, int64_t offset, std::span<std::byte> out) const {
  const float step = half_width / 32768;
  fill(offset, out, [=](uint64_t w) {
    std::array<uint16_t, 4> values;
    for (size_t i = 0; i < 4; ++i) {
      values[i] = bf16_bits(center + step * static_cast<float>(static_cast<int16_t>(w >> (16 * i))));
    }
    return values;
  });
}

void RandomValues::f32(float center, float half_width, int64_t offset, std::span<std::byte> out) const {
  const float step = half_width / 2147483648.0f;
  fill(offset, out, [=](uint64_t w) {
    return std::array<float, 2>{center + step * static_cast<float>(static_cast<int32_t>(w)),
                                center + step * static_cast<float>(static_cast<int32_t>(w >> 32))};
  });
}

// Floyd's algorithm: k different ones of n, in k steps.
void RandomValues::choices(int64_t k, int64_t n, int64_t offset, std::span<std::byte> out) const {
  std::vector<int64_t> row;
  const auto choose_row = [&](int64_t index) {
    row.clear();
    for (int64_t i = 0; i < k; ++i) {
      const int64_t newest = n - k + i;
      const auto drawn =
          static_cast<int64_t>(word(static_cast<uint64_t>(index * k + i)) % static_cast<uint64_t>(newest + 1));
      row.push_back(std::find(row.begin(), row.end(), drawn) == row.end() ? drawn : newest);
    }
  };
  const int64_t first = offset / 8, count = static_cast<int64_t>(out.size()) / 8;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t element = first + i;
    if (i == 0 || element % k == 0) choose_row(element / k);
    std::memcpy(out.data() + i * 8, &row[static_cast<size_t>(element % k)], 8);
  }
}

}  // namespace v4rt
