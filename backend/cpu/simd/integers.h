#pragma once

namespace v4rt::simd {

// This processor multiplies bytes and sums four products into an integer, and looks bytes up in a register
// (AVX512-VNNI, -VBMI).
bool integers_work();

}  // namespace v4rt::simd
