#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/profiles/device_profile.h"
#include "backend/registry.h"

namespace v4rt {

// A profile of backend/profiles by its name, or of a file by its path. Throws Error: kNotFound, with the names that
// there are; kCorrupt naming the place in the file.
DeviceProfile read_profile(const std::string& name);
DeviceProfile parse_profile(std::string_view text, const std::string& source);

// "cpu+mobile-gpu": a device as create_device makes it, as the profile after the plus would have it.
std::shared_ptr<Device> create_profiled_device(std::string_view name, const DeviceOptions& options);

}  // namespace v4rt
