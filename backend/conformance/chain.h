#pragma once

#include <vector>

#include "backend/custom_op.h"
#include "backend/joining.h"

namespace v4rt {

// Ops that one launch may do, as one op to run cases with. Its inputs are those that none of them makes, its outputs
// all that they make. A device does them by one launch if it joins them, otherwise one after the other.
class Chain final : public CustomOp {
 public:
  Chain(std::vector<OpPart> parts, std::span<const TensorType> in);
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  std::span<const Alias> aliases() const override { return aliases_; }

  // One of them: its tensors among the chain's, which are its inputs and then its outputs.
  struct Member {
    OpPtr op;
    std::vector<TensorType> inputs, outputs;
    std::vector<size_t> args;
    std::vector<int> makers, after;  // as of JoinedCall

    OpCall call() const { return {*op, inputs, outputs}; }
    JoinedCall joined() const { return {call(), makers, after}; }
    std::vector<Tensor> tensors(std::span<const Tensor> of_chain) const;
  };
  const std::vector<Member>& members() const { return members_; }
  std::vector<Member> members(std::span<const TensorType> in) const;  // as for inputs whose layouts are a device's

 private:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
  static bool overwrites(const Member& member, const Member& other);

  size_t n_inputs_;
  std::vector<Member> members_;
  std::vector<Alias> aliases_;
};

}  // namespace v4rt
