#pragma once

#include <cstdint>

namespace v4rt::onednn {

bool built_in();

// c [m, n] = a [m, k] * b [k, n], or that added to c: dense rows of bf16 in, f32 out, on the calling thread alone. The
// order of summation is the library's affair, and depends on the shape. False, with c as it was, when the library
// fails.
bool multiply(const uint16_t* a, const uint16_t* b, float* c, int64_t m, int64_t n, int64_t k, bool add) noexcept;

}  // namespace v4rt::onednn
