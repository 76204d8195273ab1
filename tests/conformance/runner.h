#pragma once

#include <cstddef>
#include <vector>

#include "tests/conformance/case_data.h"

namespace v4rt {

// Runs the case's kernel on `device` and returns the bytes of all outputs, whole capacity: outputs start as 0xff, so
// rows that a kernel must not write come back so. Buffers are slices at non-zero offsets between guard bytes; a damaged
// guard is a failure of the calling test. Weights are given in the layout that the device wants.
std::vector<std::vector<std::byte>> run_case(Device& device, const Case& c, const CaseData& data);

}  // namespace v4rt
