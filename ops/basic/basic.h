#pragma once

#include "ops/op.h"

namespace v4rt {

// y[t, :] = table[ids[t], :], or y[t, j, :] for j < copies: the streams of a hyper-connected model start equal.
// in: ids I32 [T], table BF16|F32 [V, d].  out: activation [T, d] (copies = 0) or [T, copies, d].  Spec section 4. An
// id outside [0, V) is the caller's error: the session checks ids before they get here.
class EmbedRows final : public OpOf<OpKind::kEmbedRows> {
 public:
  EmbedRows(DType activation, int copies) : activation(activation), copies(copies) {}
  const DType activation;
  const int copies;
  std::string describe() const override;
  Input input(size_t index) const override { return index == 1 ? Input{.role = Role::kTable, .ids = 0} : Input{}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// y[s, ...] = x[last row of segment s, ...]: only these rows go to the head.
// in: x activation [T, ...].  out: [segments, ...]; rows past the live segments are untouched.
class TakeLast final : public OpOf<OpKind::kTakeLast> {
 public:
  explicit TakeLast(int segments) : segments(segments) {}
  const int segments;
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// y[t, j, c] = x[t, c] + s[t, j, c]: the input of the MTP block (spec section 11).
// in: x activation [T, d], s activation [T, m, d], same dtype.  out: [T, m, d].
class AddStreams final : public OpOf<OpKind::kAddStreams> {
 public:
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
