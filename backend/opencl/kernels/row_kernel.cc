#include "backend/opencl/kernels/row_kernel.h"

#include <algorithm>

#include "backend/opencl/kernels/row_chains.h"
#include "backend/opencl/kernels/tail.h"

namespace v4rt {
namespace {

// "rms_norm_and_fake_quant_rows" of rms_norm_row and fake_quant_row.
std::string name_of(const RowChains& chains) {
  std::string name;
  for (const RowChains::Part& part : chains.parts)
    name +=
        fmt::format("{}{}", name.empty() ? "" : "_and_", part.function.name.substr(0, part.function.name.rfind('_')));
  return name + "_rows";
}

// A kernel that calls the functions, a work-group for each row of each chain. It takes the work-group with which each
// chain but the first begins, and then what the functions take.
std::string text_of(const RowChains& chains, Lanes lanes) {
  const RowText text(chains, false);
  std::string ends, ranges;
  for (size_t chain = 0; chain < chains.chains.size(); ++chain) {
    const std::string begin = chain == 0 ? "0" : fmt::format("begin_{}", chain),
                      end = chain + 1 == chains.chains.size() ? "(uint)get_num_groups(0)"
                                                              : fmt::format("begin_{}", chain + 1);
    if (chain > 0) ends += fmt::format(", uint {}", begin);
    ranges += fmt::format(
        "  const uint row_first_{0} = group - {1}, row_end_{0} = group >= {1} && group < {2} ? row_first_{0} + 1 : "
        "0;\n",
        chain, begin, end);
  }
  // What is said of the functions' arguments is said of the kernel's: inlined, it becomes a call that Oclgrind lacks.
  return fmt::format(
      "#define restrict\n{}\n#undef restrict\nKERNEL void {}({}) {{\n  __local float shared[{}];\n  const uint group = "
      "get_group_id(0);\n{}{}}}\n",
      text.functions, name_of(chains), (ends + text.arguments).substr(2), chains.local_floats(), ranges,
      text.body(lanes, "shared"));
}

class RowKernel final : public OpenclKernel {
 public:
  RowKernel(RowChains chains, const JoinedCall& first, OpenclDevice& device)
      : chains_(std::move(chains)), tables_(tables_of(chains_, device)), function_([this, &device] {
          const size_t group = work_group(device, chains_.group());
          const std::string_view file = chains_.parts.size() == 1 ? chains_.parts[0].function.file : "joined.cl";
          const std::string act = *chains_.act(), text = text_of(chains_, device.capabilities().lanes);
          const std::vector<std::string> definitions = act.empty() ? std::vector<std::string>() : std::vector{act};
          return device.function({file, text}, definitions, name_of(chains_), group);
        }) {
    if (const LeadEntry* before = chains_.parts[0].function.before) {
      before_ = before->make({&first, 1}, device, {});
      scratch_bytes = before_->scratch_bytes;
    }
  }

  void ask_for_programs() const override {
    if (before_ != nullptr) static_cast<const OpenclKernel&>(*before_).ask_for_programs();
    (void)function_.get();
  }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const auto idle = [&](const RowChains::Part& part) {
      const int32_t every = part.function.every;
      return std::ranges::none_of(step.rows, [&](const Row& row) { return (row.position + 1) % every == 0; });
    };
    if (std::ranges::all_of(chains_.parts, idle)) return;
    if (before_ != nullptr) queue.launch(*before_, args, step);
    ArgumentList list;
    size_t rows = 0;
    for (const RowChains::Chain& chain : chains_.chains) {
      if (chain.first_part > 0) list.add(static_cast<uint32_t>(rows));
      rows += chains_.parts[chain.first_part].function.rows(step);
    }
    add_arguments(list, chains_, false, tables_, queue, args);
    function_.get()(queue, {rows}, list.all());
  }

 private:
  RowChains chains_;
  std::vector<BufferPtr> tables_;
  std::unique_ptr<Kernel> before_;
  AskedFunction function_;
};

std::unique_ptr<Kernel> make(RowChains chains, std::span<const JoinedCall> calls, OpenclDevice& device) {
  if (const LeadEntry* before = chains.parts[0].function.before)
    if (auto tail = Tail::of(calls, before->lead(calls, device), device))
      return before->make(calls, device, std::move(*tail));
  return std::make_unique<RowKernel>(std::move(chains), calls[0], device);
}

}  // namespace

std::unique_ptr<Kernel> make_row_kernel(const OpCall& call, OpenclDevice& device) {
  const JoinedCall one{call, std::vector<int>(call.inputs.size(), -1)};
  return make(row_chains({&one, 1}), {&one, 1}, device);
}

// On a processor a launch less is not worth what PoCL takes to compile a pool among others: on work-items, minutes.
bool stands_alone(const OpCall& call, const OpenclDevice& device) {
  return call.op.kind() == OpKind::kCompressPool && device.capabilities().processor && !device.goes_on();
}

bool joins_rows(std::span<const JoinedCall> calls, const OpenclDevice& device) {
  const RowChains chains = row_chains(calls);
  if (!chains || !chains.act()) return false;
  const auto alone = [&](const JoinedCall& one) { return stands_alone(one.call, device); };
  if (calls.size() > 1 && std::ranges::any_of(calls, alone)) return false;
  const ArgumentCount taken = RowText(chains, false).counted;
  const size_t ends = chains.chains.size() - 1;
  return taken.count + ends <= OpenclFunction::kMostArguments &&
         taken.bytes + ends * sizeof(cl_uint) <= device.capabilities().argument_bytes &&
         fits_local(device, static_cast<int64_t>(sizeof(float)) * chains.local_floats());
}

std::unique_ptr<Kernel> join_rows(std::span<const JoinedCall> calls, OpenclDevice& device) {
  return make(row_chains(calls), calls, device);
}

}  // namespace v4rt
