#include "backend/opencl/kernels/row_chains.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>
#include <utility>

#include "backend/opencl/kernel_arguments.h"
#include "backend/opencl/kernel_instances.h"

namespace v4rt {
namespace {

std::optional<RowFunction> row_function(const OpCall& call) {
  static const std::array entries{kRowRmsNorm,  kRowHeadRms,    kRowRopeTail,  kRowFakeQuant,
                                  kRowHadamard, kRowRingAppend, kRowHcPre,     kRowHcHead,
                                  kRowSwiglu,   kRowRouteTopK,  kRowRouteHash, kRowCompressPool};
  const auto found = std::ranges::find(entries, call.op.kind(), &RowOpEntry::op);
  return found == entries.end() ? std::nullopt : found->row(call);
}

}  // namespace

RowChains row_chains(std::span<const JoinedCall> calls, size_t leads, size_t tensors) {
  RowChains all;
  for (const auto& [call, makers, after] : calls.subspan(leads)) {
    std::optional<RowFunction> function = row_function(call);
    if (!function || (function->before != nullptr && (leads > 0 || !all.parts.empty()))) return {};
    std::optional<size_t> chain;
    std::vector<int> of_leads;
    // Those of a chain follow each other, on the same rows.
    const auto follows = [&](int call) {
      const RowChains::Part& before = all.parts[static_cast<size_t>(call) - leads];
      const bool same_rows =
          before.function.rows_per_token == function->rows_per_token && before.function.live == function->live;
      if (!same_rows || chain.value_or(before.chain) != before.chain) return false;
      chain = before.chain;
      return true;
    };
    for (const int maker : makers) {
      if (maker >= 0 && static_cast<size_t>(maker) < leads) of_leads.push_back(maker);
      if (maker >= 0 && static_cast<size_t>(maker) >= leads && !follows(maker)) return {};
    }
    // Another row may overwrite what this one uses.
    if (!after.empty() && call.inputs[0].shape[0] != 1) return {};
    for (const int one : after)
      if (static_cast<size_t>(one) < leads || !follows(one)) return {};
    if (!chain) {
      chain = all.chains.size();
      all.chains.push_back({.first_part = all.parts.size()});
    }
    if (function->before != nullptr) of_leads = {0};
    std::ranges::copy(of_leads, std::back_inserter(all.chains[*chain].leads));
    const size_t scratch = function->before != nullptr ? 1 : 0;
    all.parts.push_back({std::move(*function), *chain, tensors});
    tensors += call.inputs.size() + call.outputs.size() + scratch;
  }
  return all;
}

int64_t RowChains::local_floats() const {
  return std::ranges::max(parts | std::views::transform([](const Part& part) { return part.function.local_floats; }));
}

size_t RowChains::group() const {
  return std::ranges::max(parts | std::views::transform([](const Part& part) { return part.function.group; }));
}

std::optional<std::string> RowChains::act() const {
  std::string act;
  for (const Part& part : parts) {
    for (const std::string& one : part.function.definitions) {
      if (!one.starts_with("ACT=")) continue;
      if (!act.empty() && one != act) return std::nullopt;
      act = one;
    }
  }
  return act;
}

// Functions of one file and with the same definitions are one instance of its text, in which a function for each part
// takes memory as bytes: types are the instance's.
RowText::RowText(const RowChains& chains, bool numbers_within) : chains_(chains.chains.size()) {
  struct Instance {
    std::string_view file;
    std::vector<std::string> definitions;
    std::string functions;
  };
  std::vector<Instance> instances;
  bool has_step = false;
  const auto add = [&](std::string_view type, const std::string& name) {
    const bool memory = type.find('*') != std::string_view::npos;
    arguments += fmt::format(", {} {}", type, name);
    const ArgumentCount one = arguments_of(memory ? 1 : 0, memory ? 0 : 1);
    counted = {counted.count + one.count, counted.bytes + one.bytes};
  };
  for (size_t i = 0; i < chains.parts.size(); ++i) {
    const auto& [function, chain, first] = chains.parts[i];
    std::vector<std::string> definitions;
    for (const std::string& one : function.definitions)
      if (!one.starts_with("ACT=")) definitions.push_back(one);
    auto instance = std::ranges::find_if(instances, [&](const Instance& other) {
      return other.file == function.file && other.definitions == definitions;
    });
    if (instance == instances.end()) instance = instances.insert(instance, {function.file, definitions, {}});
    const std::string suffix = fmt::format("_{}", instance - instances.begin());

    const std::vector<Parameter> parameters =
        parameters_of(kernel_source(function.file).text, fmt::format("EM_FN void {}(", function.name));
    std::string taken, within;
    Call& call = calls_.emplace_back(Call{chain, fmt::format("any_{}{}", function.name, suffix), {}});
    size_t next = 0;
    const auto take = [&](std::string_view type, const std::string& name, bool shared = false) {
      const Parameter& parameter = parameters.at(next++);
      taken += fmt::format("{} p{}, ", type, next);
      within += fmt::format("({})p{}, ", parameter.type, next);
      call.arguments.push_back(name);
      // Functions may be given the same memory, one of them alone is not.
      const bool alone = chains.parts.size() == 1 && parameter.restricted;
      if (!shared) add(fmt::format("{}{}", type, alone ? " restrict" : ""), name);
    };
    const auto name = [&] { return fmt::format("a{}_{}", i, next); };
    constexpr std::string_view kBytes = "__global uchar*";
    for (const RowArgument& argument : function.arguments) {
      if (std::holds_alternative<StepTable>(argument)) {
        take(kBytes, "step_table", std::exchange(has_step, true));
      } else if (std::holds_alternative<EntriesAt>(argument)) {
        for (const std::string_view type : {kBytes, kBytes, std::string_view("int"), std::string_view("int")})
          take(type, name());
      } else if (const auto* whole = std::get_if<int32_t>(&argument)) {
        numbers_within ? take("int", fmt::format("{} + zero", *whole), true) : take("int", name());
      } else if (const auto* number = std::get_if<float>(&argument)) {
        const std::string text = std::isinf(*number) ? "INFINITY" : fmt::format("{:a}f", *number);
        numbers_within ? take("float", text, true) : take("float", name());
      } else {
        take(kBytes, name());
      }
    }
    check(next + 2 == parameters.size(), Code::kInternal, "{} takes {} arguments, not {}", function.name,
          parameters.size() - 2, next);
    const auto same = [&](const Call& other) { return other.function == call.function; };
    if (std::ranges::find_if(calls_, same) != calls_.end() - 1) continue;
    const std::string takes = fmt::format("({}size_t row, __local float* shared)", taken);
    instance->functions +=
        fmt::format("EM_FN void any_{0}{1} {{\n  {0}({2}row, shared);\n}}\n", function.name, takes, within);
    prototypes += fmt::format("EM_FN void {}{};\n", call.function, takes);
  }
  for (size_t i = 0; i < instances.size(); ++i) {
    const auto& [file, definitions, of_parts] = instances[i];
    const bool has_format =
        std::ranges::any_of(definitions, [](const auto& one) { return one.starts_with("FORMAT="); });
    std::string text;
    for (const std::string_view part : {"row_format.cl", "extents.cl"})
      if (has_format) text += kernel_source(part).text;
    text += with_one_kernel(kernel_source(file).text, {});
    functions += instance_of(text + "\n" + of_parts, definitions, fmt::format("_{}", i));
  }
}

// Argument `at` of the function that these parts call: "part == 1 ? x_1 : x_3".
std::string RowText::argument(std::span<const Call> calls, std::span<const size_t> parts, size_t at) {
  const std::string& first = calls[parts[0]].arguments[at];
  if (parts.size() == 1) return first;
  return fmt::format("part == {} ? {} : {}", parts[0], first, argument(calls, parts.subspan(1), at));
}

// That of the part's chain: "part == 1 ? end_1 : end_0".
std::string RowText::chosen(std::string_view name) const {
  std::string all;
  for (size_t i = 0; i + 1 < calls_.size(); ++i)
    if (calls_[i].chain != calls_.back().chain) all += fmt::format("part == {} ? {}_{} : ", i, name, calls_[i].chain);
  return fmt::format("{}{}_{}", all, name, calls_.back().chain);
}

// On vector lanes the parts go through a loop in which a function stands once, however many parts call it, since
// compilers inline each call. On work-items chains follow each other, for PoCL takes ten times as long to compile
// barriers in such a loop; and barriers stand around each, since PoCL compiles what follows the last one within a
// condition as if all work-items went where the first one goes.
std::string RowText::body(Lanes lanes, std::string_view shared, const std::vector<bool>& several) const {
  std::string body;
  if (lanes == Lanes::kWorkItems) {
    for (size_t chain = 0; chain < chains_; ++chain) {
      std::string parts;
      for (const Call& call : calls_)
        if (call.chain == chain)
          parts += fmt::format(" {}({}, row, {}); SYNC_ALL;", call.function, fmt::join(call.arguments, ", "), shared);
      const std::string head =
          chain < several.size() && several[chain]
              ? fmt::format("for (uint row = row_first_{0}; row < row_end_{0}; ++row) {{", chain)
              : fmt::format("if (row_first_{0} < row_end_{0}) {{ const uint row = row_first_{0};", chain);
      body += fmt::format("  {}{} }}\n  SYNC_ALL;\n", head, parts);
    }
    return body;
  }
  body = fmt::format(
      "#pragma unroll 1\n  for (int part = 0; part < {}; ++part) {{\n    const uint end = {};\n#pragma unroll 1\n    "
      "for "
      "(uint row = {}; row < end; ++row) {{\n",
      calls_.size(), chosen("row_end"), chosen("row_first"));
  for (size_t i = 0; i < calls_.size(); ++i) {
    std::vector<size_t> parts;
    for (size_t j = 0; j < calls_.size(); ++j)
      if (calls_[j].function == calls_[i].function) parts.push_back(j);
    if (parts[0] != i) continue;
    std::string call = fmt::format("{}(", calls_[i].function);
    for (size_t at = 0; at < calls_[i].arguments.size(); ++at) call += argument(calls_, parts, at) + ", ";
    body += fmt::format("      if (part == {}) {}row, {});\n", fmt::join(parts, " || part == "), call, shared);
  }
  return body + "    }\n  }\n";
}

void add_arguments(ArgumentList& list, const RowChains& chains, bool numbers_within, std::span<const BufferPtr> tables,
                   OpenclQueue& queue, std::span<const Tensor> args) {
  bool has_step = false;
  auto table = tables.begin();
  for (const auto& [function, chain, first] : chains.parts) {
    for (const RowArgument& argument : function.arguments) {
      if (const auto* at = std::get_if<TensorAt>(&argument)) {
        list.add(args[first + at->index].values);
      } else if (const auto* of = std::get_if<EntriesAt>(&argument)) {
        const OpenclEntries entries = entries_of(args[first + of->index], queue);
        list.add(entries.rows);
        list.add(entries.table);
        list.add(entries.shift);
        list.add(entries.capacity);
      } else if (std::holds_alternative<StepTable>(argument)) {
        if (!std::exchange(has_step, true)) list.add(queue.step_table());
      } else if (std::holds_alternative<Table>(argument)) {
        list.add(*table++);
      } else if (!numbers_within) {
        if (const auto* whole = std::get_if<int32_t>(&argument)) list.add(*whole);
        if (const auto* number = std::get_if<float>(&argument)) list.add(*number);
      }
    }
  }
}

std::vector<BufferPtr> tables_of(const RowChains& chains, OpenclDevice& device) {
  std::vector<BufferPtr> tables;
  for (const RowChains::Part& part : chains.parts)
    for (const RowArgument& argument : part.function.arguments)
      if (const auto* table = std::get_if<Table>(&argument)) tables.push_back(device.constant(*table));
  return tables;
}

}  // namespace v4rt
