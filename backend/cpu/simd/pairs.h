#pragma once

namespace v4rt::simd {

// VDPBF16PS adds the products of two bf16 pairs to a float: c = fma(odd, odd', c), then the even ones, each rounded to
// nearest: a chain of exact_math.h's dot, when the earlier element of each pair is the odd one. It treats subnormal
// numbers as zero, so callers must not give it any.

bool pairs_work();  // this processor has the instruction, and AVX512-VBMI, and a test has shown that it computes that
bool pairs_pay();   // and it is faster than the two fused multiply-adds that it replaces

}  // namespace v4rt::simd
