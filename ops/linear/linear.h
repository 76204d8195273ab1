#pragma once

#include "ops/op.h"

namespace v4rt {

// rows = kTokens: live rows are Step's n_rows; kSegments: x holds one row per segment (after take_last).
enum class LiveRows : uint8_t { kTokens, kSegments };

// y[r, g*N + n] = dot(x[r, g*K .. g*K+K), w[g*N + n, :]) for g < groups; exact_math.h defines dot and its order.
// in: x activation [T, ...], cut into rows of groups * K values (rows_per_token() of them per token); w weight [groups
// * N, K]. out: `out`, groups * N values per row, shaped by `heads`:
//   0      x's leading dimensions: [T, K] -> [T, N], [T, m, K] -> [T, m, N]
//   h > 0  [T, h, groups * N / h]
//   kFlat  [T, groups * N], joining x's heads: [T, H, D] -> [T, N]
// Spec sections 3.6 and 7.7. Activation rounding is a fake_quant node before it, never part of it.
class Linear final : public OpOf<OpKind::kLinear> {
 public:
  static constexpr int kFlat = -1;
  explicit Linear(DType out, int groups = 1, LiveRows rows = LiveRows::kTokens, int heads = 0)
      : out(out), groups(groups), rows(rows), heads(heads) {}
  const DType out;
  const int groups;
  const LiveRows rows;
  const int heads;
  // Rows of groups * K values in one token of x: m for streams, else 1. Kernels handle live_rows() * this many rows.
  int64_t rows_per_token(const TensorType& x, const TensorType& w) const {
    return x.shape.elements() / (x.shape[0] * groups * w.shape[1]);
  }
  std::string describe() const override;
  Input input(size_t index) const override { return {.role = index == 1 ? Role::kMatrix : Role::kActivation}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// Number of live leading rows of a tensor under `rows`.
inline int32_t live_rows(const Step& step, LiveRows rows) {
  return rows == LiveRows::kTokens ? step.n_rows() : step.n_segments();
}

}  // namespace v4rt
