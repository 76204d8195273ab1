#pragma once

#include "backend/cpu/library/library_gemm.h"
#include "backend/cpu/simd/dot.h"

namespace v4rt::simd {

enum class Library : uint8_t { kEigen, kOnednn, kOnednnBf16 };

// Products whose order of summation is a library's: panels of weights are widened, with their scales, to f32, or to
// bf16, which some processors have units for, where nothing is lost by it. A lone row goes the exact way. nullptr in a
// build without the library, and for numbers that bf16 does not hold.
const DotFns* library_dot_fns(DType weight, DType activation, Library library);

}  // namespace v4rt::simd
