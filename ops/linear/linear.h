#pragma once

#include "ops/op.h"

namespace v4rt {

// y[t, g*N + n] = dot(x[t, g*K .. g*K+K), w[g*N + n, :]) for g < groups; exact_math.h defines dot and its order.
// in: x activation [T, ..., d] flattened after T, or [T, groups * K]; w any weight dtype [groups * N, K].
// out: `out` [T, groups * N], or [T, m, groups * N] when x is [T, m, K] (groups = 1): every row alike.
// rows = kTokens: live rows are Step's n_rows; kSegments: x holds one row per segment (after take_last).
// Spec sections 3.6 and 7.7. Activation rounding is a fake_quant node before it, never part of it.
enum class LiveRows : uint8_t { kTokens, kSegments };

class Linear final : public OpOf<OpKind::kLinear> {
 public:
  explicit Linear(DType out, int groups = 1, LiveRows rows = LiveRows::kTokens)
      : out(out), groups(groups), rows(rows) {}
  const DType out;
  const int groups;
  const LiveRows rows;
  std::string describe() const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  Cost cost(std::span<const TensorType> in, const Step& step) const override;
};

// Number of live leading rows of a tensor under `rows`.
inline int32_t live_rows(const Step& step, LiveRows rows) {
  return rows == LiveRows::kTokens ? step.n_rows() : step.n_segments();
}

}  // namespace v4rt
