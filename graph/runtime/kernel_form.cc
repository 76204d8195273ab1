#include "graph/runtime/kernel_form.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/lanes_choice.h"
#include "backend/profiles/device_profile.h"

namespace v4rt {

std::optional<KernelForm> kernel_form(const std::string& folder, const DeviceInfo& device) {
  const auto has = [&](std::string_view feature) {
    return std::ranges::find(device.features, feature) != device.features.end();
  };
  if (!has("vector_lanes") && !has("work_item_lanes")) return std::nullopt;
  const Lanes lanes = has("vector_lanes") ? Lanes::kVector : Lanes::kWorkItems;
  const auto trials = kept_trials(folder, without_profile(device));
  if (!trials) return KernelForm{lanes, false, "by the device's type and vectors: not measured yet"};
  const LanesChoice choice = choose_lanes(*trials);
  return KernelForm{lanes, true, (lanes == choice.lanes ? "" : "as asked; ") + choice.why};
}

std::string to_string(const KernelForm& form) { return fmt::format("{} ({})", to_string(form.lanes), form.why); }

}  // namespace v4rt
