#pragma once

#include <memory>
#include <span>
#include <string>
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

// The op of a call that an entry of its kind is asked about.
template <class OpT>
const OpT& op_of(const OpCall& call) {
  return static_cast<const OpT&>(call.op);
}

// A device whose kernels are the entries of a table: the first that takes a call runs it.
template <class DeviceT>
class TableDevice : public Device {
 public:
  Support supports(const OpCall& call) const final {
    std::string refusals;
    for (size_t i = 0; i < table_.size(); ++i) {
      const KernelEntry<DeviceT>& entry = table_[i];
      if (entry.op != call.op.kind()) continue;
      const Support support = entry.supports(call, static_cast<const DeviceT&>(*this));
      if (support) return {.kernel = static_cast<int>(i)};
      if (!refusals.empty()) refusals += "; ";
      refusals += std::string(entry.name) + ": " + support.reason;
    }
    return Support::no(refusals.empty() ? "no kernel for " + std::string(name(call.op.kind())) : refusals);
  }

  std::unique_ptr<Kernel> make(const OpCall& call, int kernel) final {
    const KernelEntry<DeviceT>& entry = table_[static_cast<size_t>(kernel)];
    std::unique_ptr<Kernel> made = entry.make(call, static_cast<DeviceT&>(*this));
    made->name = entry.name;
    return made;
  }

 protected:
  explicit TableDevice(std::span<const KernelEntry<DeviceT>> table) : table_(table) {}

 private:
  std::span<const KernelEntry<DeviceT>> table_;
};

}  // namespace v4rt
