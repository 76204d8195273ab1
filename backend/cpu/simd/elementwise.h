#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/simd/element.h"
#include "ops/core/dtype.h"

namespace v4rt::simd {

// Loops over activations of one storage type.
struct ElementwiseFns {
  void (*widen)(const void* x, int64_t n, float* y);                              // y = x
  void (*narrow)(const float* x, int64_t n, void* y);                             // y = round(x)
  void (*add)(const void* x, const void* s, int64_t n, void* y);                  // y = round(x + s)
  void (*add_wide)(const float* x, const void* s, int64_t n, void* y);            // y = round(x + s)
  void (*add_rounded)(const float* x, int64_t n, float* y);                       // y += round(x)
  void (*swiglu)(const void* g, const void* u, int64_t n, float limit, void* y);  // ops/moe/moe.h
  // y = round(a * weight), a of round(g), round(u)
  void (*swiglu_wide)(const float* g, const float* u, int64_t n, float limit, float weight, void* y);
};

// For BF16 or F32 activations, in the best instruction set of this processor.
const ElementwiseFns& elementwise(DType activation);

inline size_t element_bytes(DType activation) { return activation == DType::kBF16 ? sizeof(Bf16) : sizeof(float); }

}  // namespace v4rt::simd
