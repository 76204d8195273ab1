#pragma once

#include <cstdint>

#include "ops/attention/row_format.h"
#include "ops/core/dtype.h"
#include "ops/quant/quant.h"

namespace v4rt::simd {

// One row of n elements; x and y have the activation type. ops/quant/quant.h has the formulas.
using FakeQuantFn = void (*)(const void* x, int64_t n, int64_t dims, int64_t block, void* y);
using HadamardFn = void (*)(const void* x, int64_t n, float scale, void* y);
inline constexpr int64_t kMaxHadamard = 4096;  // elements: the row waits on the stack

FakeQuantFn fake_quant(DType activation, QuantGrid grid);
HadamardFn hadamard(DType activation);
float hadamard_scale(int64_t n);

// Cache rows (ops/attention/row_format.h): encode_row of an activation row, decode_row.
using EncodeFn = void (*)(const RowFormat& format, const void* x, uint8_t* row);
using DecodeFn = void (*)(const RowFormat& format, const uint8_t* row, float* values);

EncodeFn encode_row(DType activation);
DecodeFn decode_row(const RowFormat& format);

}  // namespace v4rt::simd
