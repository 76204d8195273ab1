#pragma once

#include <string>
#include <vector>

#include "backend/conformance/case.h"
#include "backend/device.h"

namespace v4rt {

// What is wrong with a case on a device, a line each; empty: it gives the reference's bits. It is run twice, and then
// with unusual numbers in each input, subnormal ones where the device keeps them. Throws Error(kUnsupported) when the
// device refuses the op.
std::vector<std::string> check_case(Device& device, const Case& c);

}  // namespace v4rt
