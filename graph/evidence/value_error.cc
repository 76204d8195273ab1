#include "graph/evidence/value_error.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/host_buffer.h"
#include "ops/core/dequant.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

// Places of floats in the order of numbers, so that neighbours are one apart; both zeros have the same.
int64_t place(float v) {
  const auto magnitude = static_cast<int64_t>(em_magnitude(v));
  return std::signbit(v) ? -magnitude : magnitude;
}

void count(ValueError& error, double expected, double actual, int64_t apart) {
  ++error.different;
  if (!std::isfinite(expected) || !std::isfinite(actual)) {
    ++error.ulps[ValueError::kNotFinite];
    return;
  }
  const double difference = std::abs(actual - expected);
  error.largest = std::max(error.largest, difference);
  error.squares += difference * difference;
  const auto limit = std::lower_bound(ValueError::kUlps.begin(), ValueError::kUlps.end(), apart);
  ++error.ulps[static_cast<size_t>(limit - ValueError::kUlps.begin())];
}

// `bits`: that a float has more than the type.
void compare_floats(ValueError& error, std::span<const float> expected, std::span<const float> actual, int bits) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const float e = expected[i], a = actual[i];
    if (std::isfinite(e)) error.expected_squares += static_cast<double>(e) * e;
    if (em_bits(e) == em_bits(a) || (std::isnan(e) && std::isnan(a))) continue;
    count(error, e, a, std::max<int64_t>(1, std::abs(place(e) - place(a)) >> bits));
  }
  error.values += static_cast<int64_t>(expected.size());
}

template <class T>
void compare_whole(ValueError& error, std::span<const std::byte> expected, std::span<const std::byte> actual) {
  for (size_t at = 0; at + sizeof(T) <= expected.size(); at += sizeof(T)) {
    T e, a;
    std::memcpy(&e, expected.data() + at, sizeof(T));
    std::memcpy(&a, actual.data() + at, sizeof(T));
    ++error.values;
    error.expected_squares += static_cast<double>(e) * e;
    if (e != a) count(error, e, a, std::abs(static_cast<int64_t>(e) - static_cast<int64_t>(a)));
  }
}

void compare_rows(ValueError& error, const RowFormat& format, std::span<const std::byte> expected,
                  std::span<const std::byte> actual) {
  const auto bytes = static_cast<size_t>(format.bytes());
  std::vector<float> e(static_cast<size_t>(format.dim)), a(e.size());
  for (size_t at = 0; at + bytes <= expected.size(); at += bytes) {
    decode_row(format, reinterpret_cast<const uint8_t*>(expected.data() + at), e);
    decode_row(format, reinterpret_cast<const uint8_t*>(actual.data() + at), a);
    compare_floats(error, e, a, 0);
  }
}

std::vector<float> floats(const TensorType& type, std::span<const std::byte> bytes) {
  std::vector<float> values(static_cast<size_t>(type.shape.elements()));
  dequantise({type, borrow_host(bytes), nullptr}, 0, values);
  return values;
}

}  // namespace

double ValueError::normalised() const {
  if (squares == 0) return 0;
  return expected_squares > 0 ? std::sqrt(squares / expected_squares) : std::numeric_limits<double>::infinity();
}

ValueError& ValueError::operator+=(const ValueError& other) {
  values += other.values;
  different += other.different;
  largest = std::max(largest, other.largest);
  squares += other.squares;
  expected_squares += other.expected_squares;
  for (size_t i = 0; i < ulps.size(); ++i) ulps[i] += other.ulps[i];
  return *this;
}

ValueError compare_values(const TensorType& type, const RowFormat& rows, std::span<const std::byte> expected,
                          std::span<const std::byte> actual) {
  check(expected.size() == actual.size(), Code::kInvalidArgument, "{} and {} bytes cannot be compared", expected.size(),
        actual.size());
  ValueError error;
  if (type.dtype == DType::kI32) {
    compare_whole<int32_t>(error, expected, actual);
  } else if (type.dtype == DType::kU8 && rows.dim > 0) {
    compare_rows(error, rows, expected, actual);
  } else if (type.dtype == DType::kU8) {
    compare_whole<uint8_t>(error, expected, actual);
  } else {
    constexpr int kBf16 = 16, kF16 = 13;
    const int bits = type.dtype == DType::kBF16 ? kBf16 : type.dtype == DType::kF16 ? kF16 : 0;
    compare_floats(error, floats(type, expected), floats(type, actual), bits);
  }
  return error;
}

}  // namespace v4rt
