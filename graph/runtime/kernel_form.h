#pragma once

#include <optional>
#include <string>

#include "backend/device.h"
#include "backend/lanes.h"

namespace v4rt {

// The form of an OpenCL device's kernels.
struct KernelForm {
  Lanes lanes = Lanes::kWorkItems;
  bool measured = false;  // both were tried on this device
  std::string why;        // "measured: on work-items ..."
};

// By what is kept in `folder`. None of other devices.
std::optional<KernelForm> kernel_form(const std::string& folder, const DeviceInfo& device);

std::string to_string(const KernelForm& form);  // "vector lanes (measured: on work-items ...)"

}  // namespace v4rt
