#pragma once

#include <span>
#include <vector>

#include "backend/host_buffer.h"
#include "ops/core/dequant.h"
#include "ops/core/exact_math.h"
#include "ops/op.h"
#include "ops/ref_context.h"

namespace v4rt {

// A tensor with its own storage, for tests that call Op::reference() directly.
struct TestTensor {
  explicit TestTensor(TensorType type) : type(type), values(type.bytes()), scales(type.scale_bytes()) {}
  TestTensor(TensorType type, std::span<const float> numbers) : TestTensor(type) { store(view(), 0, numbers); }
  TestTensor(TensorType type, std::span<const int32_t> ids) : TestTensor(type) {
    std::memcpy(values.data(), ids.data(), ids.size_bytes());
  }

  Tensor view() { return {type, borrow_host(values), scales.empty() ? nullptr : borrow_host(scales)}; }
  std::vector<float> numbers() {
    std::vector<float> out(static_cast<size_t>(type.shape.elements()));
    dequantise(view(), 0, out);
    return out;
  }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> out(values.size() / 4);
    std::memcpy(out.data(), values.data(), values.size());
    return out;
  }

  TensorType type;
  std::vector<std::byte> values, scales;
};

// Runs the reference of `op` on one segment of `n_tokens` tokens at `position` (all rows of the first input by
// default).
inline std::vector<TestTensor> run_reference(const Op& op, std::vector<TestTensor> inputs, int32_t position = 0,
                                             int32_t n_tokens = -1) {
  std::vector<TensorType> types;
  std::vector<Tensor> in, out;
  for (TestTensor& t : inputs) types.push_back(t.type), in.push_back(t.view());
  std::vector<TestTensor> outputs;
  for (const TensorType& type : op.infer(types)) outputs.emplace_back(type);
  for (TestTensor& t : outputs) out.push_back(t.view());
  for (const Alias& alias : op.aliases()) out[static_cast<size_t>(alias.output)] = in[static_cast<size_t>(alias.input)];
  const Segment segment{0, position, n_tokens < 0 ? static_cast<int32_t>(types[0].shape[0]) : n_tokens};
  std::vector<Row> rows(static_cast<size_t>(segment.n_tokens));
  fill_rows(std::span(&segment, 1), rows);
  RefContext context(in, out, Step{std::span(&segment, 1), rows});
  op.reference(context);
  for (const Alias& alias : op.aliases())
    outputs[static_cast<size_t>(alias.output)] = inputs[static_cast<size_t>(alias.input)];
  return outputs;
}

}  // namespace v4rt
