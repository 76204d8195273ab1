#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backend/conformance/case_data.h"

namespace v4rt {

// One output, or the scales of one (as bytes).
struct Result {
  DType dtype;
  std::vector<std::byte> bytes;
};

// Runs the case's kernel on `device` and returns all outputs with all rows: they start as 0xff, so rows that a kernel
// must not write come back like that. Buffers are slices at non-zero offsets between guard bytes; each that was
// overwritten is a line of `damage`. Weights are given in the layout that the device wants. Throws Error(kUnsupported)
// when the device refuses the op. `held`: entries lie as a session of such a device holds them (state_memory.h),
// without guards.
std::vector<Result> run_case(Device& device, const Case& c, const CaseData& data, bool held,
                             std::vector<std::string>& damage);

// With every NaN replaced by the same one (exact_math.h).
Result without_payloads(Result result);

}  // namespace v4rt
