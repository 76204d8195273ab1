#include "backend/opencl/kernels/row_kernel.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <ranges>

#include "backend/opencl/kernel_arguments.h"

namespace v4rt {
namespace {

std::optional<RowFunction> row_function(const OpCall& call) {
  static const std::array entries{kRowRmsNorm,    kRowHeadRms, kRowRopeTail, kRowFakeQuant, kRowHadamard,
                                  kRowRingAppend, kRowHcPre,   kRowHcHead,   kRowSwiglu};
  const auto found = std::ranges::find(entries, call.op.kind(), &RowOpEntry::op);
  return found == entries.end() ? std::nullopt : found->row(call);
}

// One of the functions of a launch. Those of a chain do the same rows one after the other; chains do not know of each
// other.
struct Part {
  RowFunction function;
  size_t chain = 0, first_tensor = 0;
};

// Empty: they are not done by one launch.
std::vector<Part> parts_of(std::span<const JoinedCall> calls) {
  std::vector<Part> parts;
  size_t chains = 0, tensors = 0;
  for (const auto& [call, makers] : calls) {
    std::optional<RowFunction> function = row_function(call);
    if (!function || (function->before != nullptr && !parts.empty())) return {};
    std::optional<size_t> chain;
    for (const int maker : makers) {
      if (maker < 0) continue;
      const Part& made = parts[static_cast<size_t>(maker)];
      const bool same_rows =
          made.function.rows_per_token == function->rows_per_token && made.function.live == function->live;
      if (!same_rows || chain.value_or(made.chain) != made.chain) return {};
      chain = made.chain;
    }
    const size_t scratch = function->before != nullptr ? 1 : 0;
    parts.push_back({std::move(*function), chain.value_or(chains), tensors});
    if (!chain) ++chains;
    tensors += call.inputs.size() + call.outputs.size() + scratch;
  }
  return parts;
}

// All of theirs; nothing: two of them want the same name for different things.
std::optional<std::vector<std::string>> definitions_of(std::span<const Part> parts) {
  std::vector<std::string> all;
  for (const Part& part : parts) {
    for (const std::string& one : part.function.definitions) {
      const std::string_view name = std::string_view(one).substr(0, one.find('=') + 1);
      const auto same = std::ranges::find_if(all, [&](const std::string& other) { return other.starts_with(name); });
      if (same == all.end()) {
        all.push_back(one);
      } else if (*same != one) {
        return std::nullopt;
      }
    }
  }
  return all;
}

int64_t local_floats_of(std::span<const Part> parts) {
  return std::ranges::max(parts | std::views::transform([](const Part& part) { return part.function.local_floats; }));
}

// Whether the arguments of one kernel may be so many: a buffer takes two.
bool fits_arguments(std::span<const Part> parts, const OpenclDevice& device) {
  size_t count = parts.size(), bytes = count * sizeof(cl_uint);
  for (const Part& part : parts) {
    for (const RowArgument& argument : part.function.arguments) {
      const bool number = std::holds_alternative<int32_t>(argument) || std::holds_alternative<float>(argument);
      count += number ? 1 : 2;
      bytes += number ? sizeof(cl_uint) : sizeof(cl_mem) + sizeof(cl_ulong);
    }
  }
  return count <= OpenclFunction::kMostArguments && bytes <= device.capabilities().argument_bytes;
}

// "rms_norm_and_fake_quant_rows" of rms_norm_row and fake_quant_row.
std::string name_of(std::span<const Part> parts) {
  std::string name;
  for (const Part& part : parts)
    name +=
        fmt::format("{}{}", name.empty() ? "" : "_and_", part.function.name.substr(0, part.function.name.rfind('_')));
  return name + "_rows";
}

// A call of a part's function, without row and shared.
struct Call {
  size_t chain;
  std::string_view function;
  std::vector<std::string> arguments;
};

// Argument `at` of the function that these parts call: "part == 1 ? x_1 : x_3".
std::string argument_of(std::span<const Call> calls, std::span<const size_t> parts, size_t at) {
  const std::string& first = calls[parts[0]].arguments[at];
  if (parts.size() == 1) return first;
  return fmt::format("part == {} ? {} : {}", parts[0], first, argument_of(calls, parts.subspan(1), at));
}

// What a work-group does, on work-items: the one chain, or that of its row.
std::string chains_of(std::span<const Call> calls, size_t chains) {
  std::vector<std::string> text(chains);
  for (const Call& call : calls) {
    const std::string row = call.chain == 0 ? "group" : fmt::format("group - end_{}", call.chain - 1);
    text[call.chain] +=
        fmt::format("{}({}, {}, shared); SYNC_ALL; ", call.function, fmt::join(call.arguments, ", "), row);
  }
  if (chains == 1) return fmt::format("  {}\n", text[0]);
  std::string body;
  for (size_t i = 0; i < chains; ++i) {
    const std::string begin = i == 0 ? "" : fmt::format("group >= end_{} && ", i - 1),
                      end = i + 1 == chains ? "get_num_groups(0)" : fmt::format("end_{}", i);
    // Barriers around each: what follows the last one within a condition, PoCL compiles as if all work-items went where
    // the first one goes.
    body += fmt::format("  if ({}group < {}) {{ {}}}\n  SYNC_ALL;\n", begin, end, text[i]);
  }
  return body;
}

// On vector lanes: the parts of the chain, in a loop. A function stands there once, however many parts call it, since
// compilers inline each call. (With barriers in such a loop PoCL takes ten times as long to compile.)
std::string loop_of(std::span<const Call> calls, size_t chains) {
  std::vector<uint32_t> parts_of_chain(chains);
  for (size_t i = 0; i < calls.size(); ++i) parts_of_chain[calls[i].chain] |= 1u << i;
  std::string body = fmt::format("  uint parts = {:#x};\n  size_t row = group;\n", parts_of_chain[0]);
  for (size_t chain = 1; chain < chains; ++chain)
    body += fmt::format("  if (group >= end_{0}) {{ parts = {1:#x}; row = group - end_{0}; }}\n", chain - 1,
                        parts_of_chain[chain]);
  body += fmt::format("#pragma unroll 1\n  for (int part = 0; part < {}; ++part) {{\n", calls.size());
  for (size_t i = 0; i < calls.size(); ++i) {
    std::vector<size_t> parts;
    for (size_t j = 0; j < calls.size(); ++j)
      if (calls[j].function == calls[i].function) parts.push_back(j);
    if (parts[0] != i) continue;
    std::string call = fmt::format("{}(", calls[i].function);
    for (size_t at = 0; at < calls[i].arguments.size(); ++at) call += argument_of(calls, parts, at) + ", ";
    body += fmt::format("    if ((parts >> part & 1) != 0 && (part == {})) {}row, shared);\n",
                        fmt::join(parts, " || part == "), call);
  }
  return body + "  }\n";
}

// A kernel that calls the functions. It takes the row at which each chain but the last ends, in groups, and then what
// the functions take.
std::string text_of(std::span<const Part> parts, Lanes lanes) {
  std::vector<std::string_view> files;
  std::string text, arguments;
  std::vector<Call> calls;
  size_t chains = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto& [function, chain, first] = parts[i];
    const std::string_view source = kernel_source(function.file).text;
    if (std::ranges::find(files, function.file) == files.end()) {
      files.push_back(function.file);
      text += fmt::format("{}\n", source);
    }
    std::vector<Parameter> parameters = parameters_of(source, fmt::format("EM_FN void {}(", function.name));
    check(parameters.size() == function.arguments.size() + 2, Code::kInternal, "{} takes {} arguments, not {}",
          function.name, parameters.size() - 2, function.arguments.size());
    parameters.resize(function.arguments.size());
    Call& call = calls.emplace_back(Call{chain, function.name, {}});
    for (const auto& [type, name, restricted] : parameters) {
      const bool alone = restricted && parts.size() == 1;  // two functions may be given the same memory
      arguments += fmt::format(", {} {}{}_{}", type, alone ? "restrict " : "", name, i);
      call.arguments.push_back(fmt::format("{}_{}", name, i));
    }
    chains = std::max(chains, chain + 1);
  }
  std::string ends;
  for (size_t chain = 0; chain + 1 < chains; ++chain) ends += fmt::format(", uint end_{}", chain);
  // What is said of the functions' arguments is said of the kernel's: inlined, it becomes a call that Oclgrind lacks.
  return fmt::format(
      "#define restrict\n{}\n#undef restrict\nKERNEL void {}({}) {{\n  __local float shared[{}];\n  const size_t group "
      "= get_group_id(0);\n{}}}\n",
      text, name_of(parts), (ends + arguments).substr(2), local_floats_of(parts),
      lanes == Lanes::kVector ? loop_of(calls, chains) : chains_of(calls, chains));
}

class RowKernel final : public OpenclKernel {
 public:
  RowKernel(std::vector<Part> parts, const OpCall& first, OpenclDevice& device)
      : parts_(std::move(parts)), function_([this, &device] { return function(device); }) {
    if (parts_[0].function.before != nullptr) before_ = parts_[0].function.before(first, device);
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].chain == chains_.size()) chains_.push_back(i);
      for (const RowArgument& argument : parts_[i].function.arguments)
        if (const auto* table = std::get_if<Table>(&argument)) tables_.push_back(device.constant(*table));
    }
  }

  size_t scratch_before() const { return before_ == nullptr ? 0 : before_->scratch_bytes; }

  void ask_for_programs() const override { (void)function_.get(); }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    if (before_ != nullptr)
      queue.launch(*before_, parts_.size() == 1 ? args : args.first(parts_[1].first_tensor), step);
    std::array<KernelArgument, OpenclFunction::kMostArguments> list;
    size_t n = 0, rows = 0;
    for (const size_t first : chains_) {
      if (first > 0) list[n++] = static_cast<uint32_t>(rows);
      rows += parts_[first].function.rows(step);
    }
    auto table = tables_.begin();
    for (const auto& [function, chain, first] : parts_) {
      for (const RowArgument& argument : function.arguments) {
        if (const auto* at = std::get_if<TensorAt>(&argument)) {
          list[n++] = static_cast<const Buffer*>(args[first + at->index].values.get());
        } else if (std::holds_alternative<StepTable>(argument)) {
          list[n++] = queue.step_table();
        } else if (const auto* whole = std::get_if<int32_t>(&argument)) {
          list[n++] = *whole;
        } else if (const auto* number = std::get_if<float>(&argument)) {
          list[n++] = *number;
        } else {
          list[n++] = static_cast<const Buffer*>((table++)->get());
        }
      }
    }
    function_.get()(queue, {rows}, std::span<const KernelArgument>(list).first(n));
  }

 private:
  std::unique_ptr<OpenclFunction> function(OpenclDevice& device) const {
    size_t group = 64;
    for (const Part& part : parts_) group = std::max(group, part.function.group);
    const std::string text = text_of(parts_, device.capabilities().lanes);
    const KernelSource source{parts_.size() == 1 ? parts_[0].function.file : "joined.cl", text};
    return device.function(source, *definitions_of(parts_), name_of(parts_), work_group(device, group));
  }

  std::vector<Part> parts_;
  std::unique_ptr<Kernel> before_;
  std::vector<size_t> chains_;  // the first part of each
  std::vector<BufferPtr> tables_;
  AskedFunction function_;
};

}  // namespace

std::unique_ptr<Kernel> row_kernel(const RowFunction& function, const OpCall& call, OpenclDevice& device) {
  auto kernel = std::make_unique<RowKernel>(std::vector{Part{function}}, call, device);
  kernel->scratch_bytes = kernel->scratch_before();
  return kernel;
}

bool joins_rows(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const std::vector<Part> parts = parts_of(calls);
  return !parts.empty() && definitions_of(parts) && fits_arguments(parts, device) &&
         fits_local(device, static_cast<int64_t>(sizeof(float)) * local_floats_of(parts));
}

std::unique_ptr<Kernel> join_rows(std::span<const JoinedCall> calls, OpenclDevice& device) {
  return std::make_unique<RowKernel>(parts_of(calls), calls[0].call, device);
}

}  // namespace v4rt
