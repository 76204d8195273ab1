#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backend/device.h"
#include "backend/lanes.h"

namespace v4rt {

// What came of trying one form of an OpenCL device's kernels in another process.
struct LanesTrial {
  double one = 0, many = 0;  // seconds of a product of one token, of kManyTokens; 0: not measured
  std::string problem;       // why neither is
  bool crashed = false;      // the driver ended the process

  static constexpr int kManyTokens = 32;
};

struct LanesTrials {
  Lanes usual = Lanes::kWorkItems;  // for such a device (opencl/capabilities.h)
  LanesTrial vector, work_items;

  const LanesTrial& of(Lanes lanes) const { return lanes == Lanes::kVector ? vector : work_items; }
};

struct LanesChoice {
  Lanes lanes = Lanes::kWorkItems;
  std::string why;
};

std::string to_string(Lanes lanes);  // "vector lanes"

// The faster form; the usual one, if the other is not clearly faster.
LanesChoice choose_lanes(const LanesTrials& trials);

// Trials on disk, by the device's description, which names device, driver and compute units, and the size of its
// work-groups.
void keep_trials(const std::string& folder, const DeviceInfo& device, const LanesTrials& trials);
std::optional<LanesTrials> kept_trials(const std::string& folder, const DeviceInfo& device);

inline constexpr std::string_view kMaxGroup = "max_group_";  // how that feature begins

}  // namespace v4rt
