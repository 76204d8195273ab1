#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/opencl/kernels/row_chains.h"

namespace v4rt {

// What a launch of one token goes on with: functions of rows of what it makes. The work-group that is the last of those
// which make a row does what follows of it, so that nothing waits for work-groups that may not have begun. Only where
// the device offers fences of device scope (OpenclDevice::goes_on).

// The work-groups of a launch that make an output of `columns` numbers. Groups are numbered by the launch; those from
// `begin` on make stripes of `stripe_columns` numbers, `stripe_groups` of them one stripe.
struct Makers {
  uint32_t begin = 0, stripe_groups = 1;
  int64_t stripe_columns = 1, columns = 1;

  uint32_t groups() const { return static_cast<uint32_t>(ceil_div(columns, stripe_columns)) * stripe_groups; }
};

// The launch that a tail is of.
struct Lead {
  size_t ops = 0;          // the first of the calls; 0: there is none, unless it goes before the first of them
  size_t tensors = 0;      // theirs, scratch memory among them
  std::string group;       // the number of a work-group, as the kernel computes it
  std::vector<Makers> of;  // of each op; empty: there is no such launch
  std::string act;         // the definition of ACT
  ArgumentCount arguments;
  size_t items = 64;  // of a work-group
  int64_t local_bytes = 0;
};

class Tail {
 public:
  Tail() = default;  // a launch that ends where it ends
  // Nothing: what follows is no such tail, the device does not go on, or it has no room for that.
  static std::optional<Tail> of(std::span<const JoinedCall> calls, const Lead& lead, const OpenclDevice& device);

  explicit operator bool() const { return static_cast<bool>(chains_); }
  // The kernel of the launch, which goes on with this.
  std::unique_ptr<OpenclFunction> function(OpenclDevice& device, const KernelSource& source,
                                           std::vector<std::string> definitions, const std::string& name, size_t group);
  // What that kernel takes after its own arguments.
  ArgumentList arguments(OpenclQueue& queue, std::span<const Tensor> args) const;

 private:
  std::string statements(const RowText& text, Lanes lanes) const;

  // Of a chain: `per_unit` work-groups, from `begin` on, make `rows_per_unit` of its rows together.
  struct Units {
    uint32_t begin, groups, per_unit, rows, rows_per_unit;
    uint32_t count() const { return static_cast<uint32_t>(ceil_div(groups, per_unit)); }
  };
  static Units units_of(const Makers& makers, size_t rows);

  RowChains chains_;
  std::string group_;
  std::vector<Units> units_;  // of each chain
  std::vector<BufferPtr> tables_;
};

// A launch that may go on: how, and its kernel.
struct LeadEntry {
  Lead (*lead)(std::span<const JoinedCall> calls, const OpenclDevice& device);
  std::unique_ptr<Kernel> (*make)(std::span<const JoinedCall> calls, OpenclDevice& device, Tail tail);
};
extern const LeadEntry kLeadProducts, kLeadLinear, kLeadGateUp, kLeadAttend, kLeadAttendWide;

// As JoiningDevice.
bool joins_tail(std::span<const JoinedCall> calls, const OpenclDevice& device);
std::unique_ptr<Kernel> join_tail(std::span<const JoinedCall> calls, OpenclDevice& device);

}  // namespace v4rt
