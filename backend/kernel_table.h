#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "backend/device.h"

namespace v4rt {

// One way of running one op on one kind of device. Tables are ordered: earlier entries are preferred.
template <class DeviceT>
struct KernelEntry {
  OpKind op;
  std::string_view name;  // "opencl.linear.rows16"
  Support (*supports)(const OpCall& call, const DeviceT& device);
  std::unique_ptr<Kernel> (*make)(const OpCall& call, DeviceT& device);
};

// The first entry that takes the call, or nullptr and, in `reason`, every refusal.
template <class DeviceT>
const KernelEntry<DeviceT>* select_kernel(std::span<const KernelEntry<DeviceT>> table, const OpCall& call,
                                          const DeviceT& device, std::string* reason) {
  std::string refusals;
  for (const auto& entry : table) {
    if (entry.op != call.op.kind()) continue;
    const Support support = entry.supports(call, device);
    if (support) return &entry;
    if (!refusals.empty()) refusals += "; ";
    refusals += std::string(entry.name) + ": " + support.reason;
  }
  if (reason != nullptr) *reason = refusals.empty() ? "no kernel for " + std::string(name(call.op.kind())) : refusals;
  return nullptr;
}

}  // namespace v4rt
