#pragma once

#include <span>

#include "ops/core/tensor.h"

namespace v4rt {

float f16_to_float(uint16_t bits);  // IEEE half, subnormals included

// Elements [first, first + out.size()) of a tensor in Layout::kRows as float. This is the definition of every storage
// format. FP8 and FP4 elements are code * scale; the range may start and end anywhere.
void dequantise(const Tensor& tensor, int64_t first, std::span<float> out);

// The inverse for plain number types (F32, BF16: rounded to nearest even). Throws Error(kInternal) for others.
void store(const Tensor& tensor, int64_t first, std::span<const float> values);

}  // namespace v4rt
