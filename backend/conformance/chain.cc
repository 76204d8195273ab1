#include "backend/conformance/chain.h"

#include <algorithm>

#include "ops/ref_context.h"

namespace v4rt {

Chain::Chain(std::vector<OpPart> parts, std::span<const TensorType> in) : n_inputs_(in.size()) {
  size_t next = in.size();  // output
  for (OpPart& part : parts) {
    Member member{.op = std::move(part.op), .inputs = {}, .outputs = {}, .args = {}, .makers = {}, .after = {}};
    for (const OpPart::From& from : part.inputs) {
      const bool made = from.input < 0;
      member.makers.push_back(made ? -1 - from.input : -1);
      const Member* maker = made ? &members_[static_cast<size_t>(member.makers.back())] : nullptr;
      member.args.push_back(made ? maker->args[maker->inputs.size()] : static_cast<size_t>(from.input));
      member.inputs.push_back(made ? maker->outputs[0] : in[static_cast<size_t>(from.input)]);
    }
    member.outputs = member.op->infer(member.inputs);
    for (size_t o = 0; o < member.outputs.size(); ++o) member.args.push_back(next++);
    for (const Alias& alias : member.op->aliases())
      aliases_.push_back(
          {static_cast<int>(member.args[member.inputs.size() + static_cast<size_t>(alias.output)] - n_inputs_),
           static_cast<int>(member.args[static_cast<size_t>(alias.input)])});
    for (size_t before = 0; before < members_.size(); ++before)
      if (overwrites(member, members_[before]) || overwrites(members_[before], member))
        member.after.push_back(static_cast<int>(before));
    members_.push_back(std::move(member));
  }
}

// In place, what the other uses.
bool Chain::overwrites(const Member& member, const Member& other) {
  return std::ranges::any_of(member.op->aliases(), [&](const Alias& alias) {
    return std::ranges::find(other.args, member.args[static_cast<size_t>(alias.input)]) != other.args.end();
  });
}

std::string Chain::describe() const {
  std::string text;
  for (const Member& member : members_) text += (text.empty() ? "" : ", ") + member.op->describe();
  return "chain{" + text + "}";
}

Input Chain::input(size_t index) const {
  for (const Member& member : members_)
    for (size_t i = 0; i < member.inputs.size(); ++i)
      if (member.args[i] == index) return member.op->input(i);
  fail(Code::kInternal, "{}: no op reads input {}", describe(), index);
}

std::vector<TensorType> Chain::infer(std::span<const TensorType>) const {
  std::vector<TensorType> all;
  for (const Member& member : members_) all.insert(all.end(), member.outputs.begin(), member.outputs.end());
  return all;
}

void Chain::reference(RefContext& context) const {
  std::vector<Tensor> all;
  for (int i = 0; i < context.n_inputs(); ++i) all.push_back(context.tensor(i));
  for (size_t o = 0; o < infer({}).size(); ++o) all.push_back(context.out_tensor(static_cast<int>(o)));
  for (const Member& member : members_) {
    const std::vector<Tensor> tensors = member.tensors(all);
    const std::span<const Tensor> in = std::span(tensors).first(member.inputs.size());
    RefContext own(in, std::span(tensors).subspan(in.size()), context.step());
    member.op->reference(own);
  }
}

Cost Chain::work(std::span<const TensorType>, const Step& step) const {
  Cost sum;
  for (const Member& member : members_) {
    const Cost cost = member.op->cost(member.inputs, step);
    sum.flops += cost.flops;
    sum.state_bytes += cost.state_bytes;
    sum.io_bytes += cost.io_bytes;
  }
  return sum;
}

std::vector<Chain::Member> Chain::members(std::span<const TensorType> in) const {
  std::vector<Member> all = members_;
  for (Member& member : all)
    for (size_t i = 0; i < member.inputs.size(); ++i)
      if (member.args[i] < in.size()) member.inputs[i] = in[member.args[i]];
  return all;
}

std::vector<Tensor> Chain::Member::tensors(std::span<const Tensor> of_chain) const {
  std::vector<Tensor> own;
  for (const size_t at : args) own.push_back(of_chain[at]);
  return own;
}

}  // namespace v4rt
