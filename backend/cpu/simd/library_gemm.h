#pragma once

#include "backend/cpu/library/library_gemm.h"
#include "backend/cpu/simd/dot.h"

namespace v4rt::simd {

enum class Library : uint8_t { kEigen, kOnednn };

// Products whose order of summation is a library's: panels of weights are widened, with their scales, to what it
// multiplies, which is exact. oneDNN multiplies bf16 where nothing is lost by it, which units that sum otherwise do
// fastest. A lone row goes the exact way. nullptr in a build without the library.
const DotFns* library_dot_fns(DType weight, DType activation, Library library);

}  // namespace v4rt::simd
