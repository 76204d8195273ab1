#pragma once

#include <optional>
#include <string>

#include "backend/device.h"

namespace v4rt {

// What a device was measured to do.
struct DeviceFigures {
  DeviceSpeed speed;
  double launch_us = 0;                                       // of a small kernel among many after each other
  double allocate_gbs = 0, upload_gbs = 0, download_gbs = 0;  // 1e9 bytes/s: memory that is new and filled; copies
};

DeviceFigures measure_figures(Device& device);

// Figures on disk, by device. They are of the driver that they were taken with: of another there are none. An empty
// folder keeps nothing.
void keep_figures(const std::string& folder, const DeviceInfo& device, const DeviceFigures& figures);
std::optional<DeviceFigures> kept_figures(const std::string& folder, const DeviceInfo& device);

}  // namespace v4rt
