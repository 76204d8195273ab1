#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace v4rt::simd {

// What the processor offers of what this build has code for, best first: {"avx512", "avx512bf16"}.
std::vector<std::string> features();

}  // namespace v4rt::simd
