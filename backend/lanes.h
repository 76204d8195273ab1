#pragma once

#include <cstdint>

namespace v4rt {

// Where the lanes of an OpenCL kernel are.
//   kVector      one work-item holds 16 lanes as a vector; work-groups of one item (suits CPUs with native vectors)
//   kWorkItems   one lane per work-item; work-groups of 64 and more share local memory (suits everything else)
enum class Lanes : uint8_t { kVector, kWorkItems };

}  // namespace v4rt
