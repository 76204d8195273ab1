#pragma once

#include "backend/cpu/simd/dot.h"

namespace v4rt::simd {

// Products whose order of summation is a library's: matrices are widened to bf16, which is exact, and multiplied by
// oneDNN, which knows units that sum otherwise (AMX). A lone row goes the exact way. nullptr: for types that bf16 does
// not hold, or in a build without the library.
const DotFns* library_dot_fns(DType weight, DType activation);

// Whether that was faster than the exact products when the two were timed side by side here, once.
bool library_pays();

}  // namespace v4rt::simd
