#pragma once

#include <string>

#include "backend/device.h"

namespace v4rt {

// The form of an OpenCL device's kernels, and why they have it, by what is kept in `folder`: "vector lanes (measured:
// on work-items ...)". Of other devices nothing.
std::string lanes_text(const std::string& folder, const DeviceInfo& device);

}  // namespace v4rt
