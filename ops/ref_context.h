#pragma once

#include <span>

#include "ops/core/step.h"
#include "ops/core/tensor.h"
#include "ops/ref_memory.h"

namespace v4rt {

// What Op::reference() sees: inputs as float, whatever their storage; outputs rounded to their storage when written.
// All tensors are host-visible and in Layout::kRows. "Row" = one index of everything but the last dimension.
class RefContext {
 public:
  RefContext(std::span<const Tensor> inputs, std::span<const Tensor> outputs, const Step& step)
      : inputs_(inputs), outputs_(outputs), step_(step) {}

  const Step& step() const { return step_; }
  int32_t n_rows() const { return step_.n_rows(); }
  int n_inputs() const { return static_cast<int>(inputs_.size()); }
  const TensorType& input(int i) const { return inputs_[static_cast<size_t>(i)].type; }
  const TensorType& output(int i) const { return outputs_[static_cast<size_t>(i)].type; }

  // Elements [first, first + out.size()) of the flattened input; FP8 and FP4 start and end at row borders.
  void read(int input, int64_t first, std::span<float> out) const;
  Floats read(int input) const;  // all of it
  void write(int output, int64_t first, std::span<const float> values) const;

  const int32_t* ids(int input) const { return inputs_[static_cast<size_t>(input)].data<int32_t>(); }
  int32_t* out_ids(int output) const { return outputs_[static_cast<size_t>(output)].data<int32_t>(); }
  const uint8_t* bytes(int input) const { return inputs_[static_cast<size_t>(input)].data<uint8_t>(); }
  uint8_t* out_bytes(int output) const { return outputs_[static_cast<size_t>(output)].data<uint8_t>(); }
  const Tensor& tensor(int input) const { return inputs_[static_cast<size_t>(input)]; }
  const Tensor& out_tensor(int output) const { return outputs_[static_cast<size_t>(output)]; }

 private:
  std::span<const Tensor> inputs_, outputs_;
  Step step_;
};

}  // namespace v4rt
