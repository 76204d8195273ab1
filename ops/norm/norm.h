#pragma once

#include "ops/linear/linear.h"
#include "ops/op.h"

namespace v4rt {

// The scalar row function, before rounding: shared by the references of rms_norm, hc_pre, hc_head and compress_pool.
void rms_norm_row(std::span<float> x, std::span<const float> w, float eps);

// y = x * r * w over the last dimension n: r = rsqrt(em_div(sum64(x^2), n) + eps), y[i] = round((x[i] * r) * w[i]).
// Spec section 4. rsqrt(a) is em_rsqrt: 1 / sqrt(a).
// in: x activation [T, ..., n], w BF16|F32 [n].  out: as x.
class RmsNorm final : public OpOf<OpKind::kRmsNorm> {
 public:
  explicit RmsNorm(float eps, LiveRows rows = LiveRows::kTokens) : eps(eps), rows(rows) {}
  const float eps;
  const LiveRows rows;
  std::string describe() const override;
  Input input(size_t index) const override { return {.role = index == 1 ? Role::kWeight : Role::kActivation}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// Per query head, without a weight: q * rsqrt(mean(q^2) + eps) over D. Spec section 4 (a).
// BF16 activations round at every step as the release does: s = bf16(q^2), m = bf16(sum64(s) / D), a = bf16(m + eps),
// r = bf16(rsqrt(a)), y = bf16(q * r). F32: y = q * rsqrt(sum64(q^2) / D + eps), the products by fma.
// in: q activation [T, H, D].  out: as q.
class HeadRms final : public OpOf<OpKind::kHeadRms> {
 public:
  explicit HeadRms(float eps) : eps(eps) {}
  const float eps;
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
