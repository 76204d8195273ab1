#include "backend/opencl/kernels/tail.h"

#include <algorithm>
#include <numeric>

#include "backend/opencl/kernel_arguments.h"

namespace v4rt {
namespace {

// The output that all rows of a chain are of; if they are of several, all that make these.
Makers makers_of(const RowChains::Chain& chain, const Lead& lead) {
  if (chain.leads.empty()) return {};  // of none: any work-group
  Makers all = lead.of[static_cast<size_t>(chain.leads[0])];
  uint32_t end = all.begin + all.groups();
  for (const int op : chain.leads) {
    const Makers& one = lead.of[static_cast<size_t>(op)];
    if (op == chain.leads[0]) continue;
    end = std::max(end, one.begin + one.groups());
    all.begin = std::min(all.begin, one.begin);
    all = {.begin = all.begin, .stripe_groups = end - all.begin};
  }
  return all;
}

}  // namespace

// The least that are whole stripes and whole rows.
Tail::Units Tail::units_of(const Makers& makers, size_t rows) {
  const int64_t row_columns = ceil_div(makers.columns, static_cast<int64_t>(rows));
  const int64_t unit = std::lcm(makers.stripe_columns, row_columns);
  const bool all = unit >= makers.columns || makers.columns % row_columns != 0;
  const auto whole = static_cast<uint32_t>(rows);
  return {makers.begin, makers.groups(),
          all ? makers.groups() : static_cast<uint32_t>(unit / makers.stripe_columns) * makers.stripe_groups, whole,
          all ? whole : static_cast<uint32_t>(unit / row_columns)};
}

std::optional<Tail> Tail::of(std::span<const JoinedCall> calls, const Lead& lead, const OpenclDevice& device) {
  if (!device.goes_on() || lead.of.empty()) return std::nullopt;
  Tail tail;
  tail.chains_ = row_chains(calls, lead.ops, lead.tensors);
  if (!tail.chains_ || !tail.chains_.act()) return std::nullopt;
  if (const std::string act = *tail.chains_.act(); !act.empty() && act != lead.act) return std::nullopt;
  const bool items = device.capabilities().lanes == Lanes::kWorkItems;
  uint32_t counters = 0;
  for (const RowChains::Chain& chain : tail.chains_.chains) {
    const size_t rows = tail.chains_.parts[chain.first_part].function.rows_per_token;
    tail.units_.push_back(units_of(makers_of(chain, lead), rows));
    counters += tail.units_.back().count();
  }
  tail.group_ = lead.group;
  const RowText text(tail.chains_, true);
  const ArgumentCount arrivals = arguments_of(1, 1);
  const size_t count = lead.arguments.count + arrivals.count + text.counted.count,
               bytes = lead.arguments.bytes + arrivals.bytes + text.counted.bytes;
  const int64_t local = lead.local_bytes + 4 * tail.chains_.local_floats();
  // Work-items that share memory for a row wait for each other: a work-group of theirs is to have one.
  const auto suits = [&](const RowChains::Part& part) {
    const bool share = part.function.local_floats > 1;
    return !items ||
           (lead.items % part.function.abreast == 0 && (!share || tail.units_[part.chain].rows_per_unit == 1));
  };
  const bool fits = std::ranges::all_of(tail.chains_.parts, suits) && counters <= OpenclQueue::kArrivals &&
                    count <= OpenclFunction::kMostArguments && bytes <= device.capabilities().argument_bytes &&
                    fits_local(device, local);
  return fits ? std::optional(std::move(tail)) : std::nullopt;
}

std::string Tail::statements(const RowText& text, Lanes lanes) const {
  std::string all = fmt::format("  __local uint is_last;\n  __local float tail_shared[{}];\n  const uint maker = {};\n",
                                chains_.local_floats(), group_);
  uint32_t counter = 0;
  std::vector<bool> several;
  for (size_t chain = 0; chain < units_.size(); ++chain) {
    const Units& u = units_[chain];
    several.push_back(u.rows_per_unit > 1);
    // A unit of one work-group has all that it needs once its work-items have come so far.
    const std::string done =
        u.per_unit == 1
            ? fmt::format("makes_{}", chain)
            : fmt::format(
                  "last_to_arrive(arrivals + {} + unit_{}, makes_{} ? min({}u, {}u - unit_{} * {}u) : 0, &is_last)",
                  counter, chain, chain, u.per_unit, u.groups, chain, u.per_unit);
    const std::string end = u.rows_per_unit == 1
                                ? fmt::format("row_first_{} + 1", chain)
                                : fmt::format("min(row_first_{} + {}u, {}u)", chain, u.rows_per_unit, u.rows);
    all += fmt::format(
        "  const int makes_{6} = maker >= {0}u && maker < {1}u;\n  const uint unit_{6} = makes_{6} ? (maker - {0}u) / "
        "{2}u : 0, row_first_{6} = unit_{6} * {3}u;\n  const uint row_end_{6} = {4} ? {5} : 0;\n",
        u.begin, u.begin + u.groups, u.per_unit, u.rows_per_unit, done, end, chain);
    counter += u.count();
  }
  return all + "  SYNC_ALL;\n" + text.body(lanes, "tail_shared", several);
}

std::unique_ptr<OpenclFunction> Tail::function(OpenclDevice& device, const KernelSource& source,
                                               std::vector<std::string> definitions, const std::string& name,
                                               size_t group) {
  if (!chains_) return device.function(source, std::move(definitions), name, group);
  tables_ = tables_of(chains_, device);
  const RowText text(chains_, true);
  std::string undefined;
  for (const std::string& one : definitions)
    if (!one.starts_with("ACT=")) undefined += fmt::format("#undef {}\n", one.substr(0, one.find('=')));
  // What is said of the functions' arguments is said of the kernel's; and the tail reads what the launch wrote.
  const std::string whole =
      fmt::format("#define restrict\n{}\n{}{}\n{}{}", kernel_source("tail.cl").text, text.prototypes,
                  with_end(source.text, name, ", __global uint* arrivals, int zero" + text.arguments,
                           statements(text, device.capabilities().lanes)),
                  undefined, text.functions);
  return device.function({source.name, whole, true}, std::move(definitions), name, group);
}

ArgumentList Tail::arguments(OpenclQueue& queue, std::span<const Tensor> args) const {
  ArgumentList list;
  if (!chains_) return list;
  list.add(queue.arrivals());
  list.add(KernelArgument(int32_t{0}));
  add_arguments(list, chains_, true, tables_, queue, args);
  return list;
}

namespace {

constexpr const LeadEntry* kLeads[] = {&kLeadProducts, &kLeadLinear, &kLeadGateUp, &kLeadAttend, &kLeadAttendWide};

struct Led {
  const LeadEntry* entry = nullptr;
  std::optional<Tail> tail;
};
Led led_by(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  for (const LeadEntry* entry : kLeads) {
    const Lead lead = entry->lead(calls, device);
    if (!lead.of.empty()) return {entry, lead.ops < calls.size() ? Tail::of(calls, lead, device) : Tail()};
  }
  return {};
}

}  // namespace

bool joins_tail(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  return led_by(calls, device).tail.has_value();
}

std::unique_ptr<Kernel> join_tail(std::span<const JoinedCall> calls, OpenclDevice& device) {
  Led led = led_by(calls, device);
  return led.entry->make(calls, device, std::move(*led.tail));
}

}  // namespace v4rt
