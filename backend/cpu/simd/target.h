#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace v4rt::simd {

// The instruction sets in use: {"avx512", "avx512bf16", "amx"}. Settles which code the dispatch tables choose.
std::vector<std::string> features();

}  // namespace v4rt::simd
