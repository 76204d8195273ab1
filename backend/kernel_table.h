#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backend/device.h"
#include "backend/kernel_choice.h"

namespace v4rt {

// One way to run one op on one kind of device. Tables are ordered: earlier entries are preferred, and those of
// libraries come before the exact ones.
template <class DeviceT>
struct KernelEntry {
  OpKind op;
  std::string_view name;  // "opencl.linear.rows16"
  Support (*supports)(const OpCall& call, const DeviceT& device);
  std::unique_ptr<Kernel> (*make)(const OpCall& call, DeviceT& device);
  // The library whose order of sums this is, with its version: "Eigen 3.4.0". nullptr: exact, in the order that the op
  // defines. The others run only with --fast.
  std::string (*library)() = nullptr;

  bool exact() const { return library == nullptr; }
};

// The op of a call, as the type that belongs to the entry's kind.
template <class OpT>
const OpT& op_of(const OpCall& call) {
  return static_cast<const OpT&>(call.op);
}

// A device whose kernels are the entries of a table. The first entry that takes a call runs it; if that is a library's,
// the fastest of the libraries' and the first exact one.
template <class DeviceT>
class TableDevice : public Device {
 public:
  Support supports(const OpCall& call) const final {
    std::string refusals;
    std::vector<KernelChoice::Candidate> takers;
    for (size_t i = 0; i < table_.size(); ++i) {
      const KernelEntry<DeviceT>& entry = table_[i];
      if (entry.op != call.op.kind()) continue;
      const Support support = entry.exact() || choice_->use() != Fast::kNever
                                  ? entry.supports(call, static_cast<const DeviceT&>(*this))
                                  : Support::no("its sums have an order of their own: taken only with --fast");
      if (!support) {
        if (!refusals.empty()) refusals += "; ";
        refusals += std::string(entry.name) + ": " + support.reason;
        continue;
      }
      if (entry.exact() && takers.empty()) return {.kernel = static_cast<int>(i)};
      takers.push_back({static_cast<int>(i), entry.name, entry.exact() ? "" : entry.library()});
      if (entry.exact()) break;
    }
    if (!takers.empty()) return choice_->of(call, takers);
    return Support::no(refusals.empty() ? "no kernel for " + std::string(name(call.op.kind())) : refusals);
  }

  std::unique_ptr<Kernel> make(const OpCall& call, int kernel) final {
    const KernelEntry<DeviceT>& entry = table_[static_cast<size_t>(kernel)];
    std::unique_ptr<Kernel> made = entry.make(call, static_cast<DeviceT&>(*this));
    made->name = entry.name;
    return made;
  }

 protected:
  explicit TableDevice(std::span<const KernelEntry<DeviceT>> table, FastOptions fast = {})
      : table_(table), choice_(std::make_unique<KernelChoice>(*this, std::move(fast))) {}

 private:
  std::span<const KernelEntry<DeviceT>> table_;
  std::unique_ptr<KernelChoice> choice_;
};

}  // namespace v4rt
