#pragma once

#include <string>

namespace v4rt::simd {

// Whether this processor's matrix unit (AMX: tiles of bf16 and of bytes) can be used: it exists, the operating system
// allows it, and a test has shown that it adds in the order of exact_math.h's dot. It treats subnormal numbers as zero,
// so callers must not give it any.
struct AmxState {
  bool works = false;
  std::string refusal;  // why not; empty if the processor has none
};
const AmxState& amx();

}  // namespace v4rt::simd
