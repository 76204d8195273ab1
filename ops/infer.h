#pragma once

#include <span>
#include <string_view>

#include "ops/op.h"

namespace v4rt {

// The checks that many infer() functions share. Messages start with the op's name.

inline void expect_inputs(std::string_view op, std::span<const TensorType> in, size_t n) {
  check(in.size() == n, Code::kInvalidArgument, "{}: expects {} inputs, not {}", op, n, in.size());
}

inline void expect_activation(std::string_view op, const TensorType& type, int min_rank = 2, int max_rank = 4) {
  check(is_activation(type.dtype) && type.shape.rank() >= min_rank && type.shape.rank() <= max_rank,
        Code::kInvalidArgument, "{}: expects a bf16 or f32 activation of rank {} to {}, not {}", op, min_rank, max_rank,
        to_string(type));
}

inline void expect_type(std::string_view op, std::string_view what, const TensorType& type,
                        const TensorType& expected) {
  check(type == expected, Code::kInvalidArgument, "{}: {} is {}, expected {}", op, what, to_string(type),
        to_string(expected));
}

// A norm weight [n], BF16 or F32.
inline void expect_norm(std::string_view op, const TensorType& type, int64_t n) {
  check(is_activation(type.dtype) && type.shape == Shape{n}, Code::kInvalidArgument,
        "{}: norm weight is {}, expected bf16 or f32 {}", op, to_string(type), to_string(Shape{n}));
}

inline void expect_matrix(std::string_view op, std::string_view what, const TensorType& type, const Shape& shape) {
  check(type.dtype != DType::kI32 && type.dtype != DType::kU8 && type.shape == shape, Code::kInvalidArgument,
        "{}: {} is {}, expected a weight {}", op, what, to_string(type), to_string(shape));
}

// Bytes of the live rows of an activation.
inline double live_bytes(const TensorType& type, double rows) {
  const double capacity = static_cast<double>(type.shape[0]);
  return static_cast<double>(type.bytes()) * rows / (capacity > 0 ? capacity : 1);
}

inline double total_bytes(const TensorType& type) { return static_cast<double>(type.bytes() + type.scale_bytes()); }

}  // namespace v4rt
