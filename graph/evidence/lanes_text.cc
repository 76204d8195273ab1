#include "graph/evidence/lanes_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/lanes_choice.h"
#include "backend/profiles/device_profile.h"

namespace v4rt {

std::string lanes_text(const std::string& folder, const DeviceInfo& device) {
  const auto has = [&](std::string_view feature) {
    return std::ranges::find(device.features, feature) != device.features.end();
  };
  if (!has("vector_lanes") && !has("work_item_lanes")) return {};
  const Lanes lanes = has("vector_lanes") ? Lanes::kVector : Lanes::kWorkItems;
  const auto trials = kept_trials(folder, without_profile(device).description);
  if (!trials) return to_string(lanes) + " (by the device's type and vectors: not measured yet)";
  const LanesChoice choice = choose_lanes(*trials);
  return fmt::format("{} ({}{})", to_string(lanes), lanes == choice.lanes ? "" : "as asked; ", choice.why);
}

}  // namespace v4rt
