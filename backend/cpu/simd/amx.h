#pragma once

#include <string>

namespace v4rt::simd {

// Whether this processor's matrix unit (AMX: tiles of bf16 and of bytes) may be used: it is there, the operating system
// lets this process have it, and it was seen to add in the order of exact_math.h's dot. It takes subnormal numbers for
// zero, so callers keep those away from it.
struct AmxState {
  bool works = false;
  std::string refusal;  // why not; empty where there is no such thing
};
const AmxState& amx();

}  // namespace v4rt::simd
