#pragma once

#include <optional>
#include <string>

#include "graph/evidence/product_speed.h"

namespace v4rt {

// What a device was measured to do.
struct DeviceFigures {
  DeviceSpeed speed;
  double launch_us = 0;                                       // of a small kernel among many after each other
  double allocate_gbs = 0, upload_gbs = 0, download_gbs = 0;  // 1e9 bytes/s: memory that is new and filled; copies
  ProductSpeed fp8, fp4, bf16;                                // by the type of the weights
};

DeviceFigures measure_figures(Device& device);

// Figures on disk, by device. They are of the driver that they were taken with: of another there are none. An empty
// folder keeps nothing.
void keep_figures(const std::string& folder, const DeviceInfo& device, const DeviceFigures& figures);
std::optional<DeviceFigures> kept_figures(const std::string& folder, const DeviceInfo& device);

// Of a device that somebody describes: a JSON file with read_gbs, f32_gflops and what else they know of the figures
// that `v4rt devices --json` shows. Throws Error with the file, the key and the fact.
DeviceFigures described_figures(const std::string& path);

}  // namespace v4rt
