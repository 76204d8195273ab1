#pragma once

#include "ops/linear/linear.h"
#include "ops/op.h"

namespace v4rt {

// Manifold-constrained hyper-connections (spec section 5). m streams of width d; a mix row holds pre[m] | post[m] |
// comb[m*m].

struct HyperSpec {
  int streams = 4;
  int sinkhorn_iterations = 20;
  float hc_eps = 1e-6f, rms_eps = 1e-6f;
};

// v = the m*d values of h[t]; r = rsqrt(sum64(v^2) / (m*d) + rms_eps); mix[i] = dot64(v, fn[i, :]) * r, where dot64 is
// sum64 with fma; pre, post, comb by section 5.2 in its order (softmax: row maximum, em_exp, ascending sums, em_div;
// Sinkhorn sums ascending, then + eps, then em_div). x[c] = round(sum over j, ascending from 0, of pre[j] * h[j, c]);
// then x = RmsNorm(rms_eps, norm_w). pre = em_sigmoid(mix * scale + base) + eps and likewise for post and comb's
// logits. Products and sums are rounded separately here, without fma, as in the release's elementwise operations: the
// streams carry every rounding to the end, and with fma a third of the golden rows did not match.
// in: h activation [T, m, d], fn F32 [2m + m*m, m*d], scale F32 [3], base F32 [2m + m*m], norm_w BF16|F32 [d]. out: x
// activation [T, d], mix F32 [T, 2m + m*m].
class HcPre final : public OpOf<OpKind::kHcPre> {
 public:
  explicit HcPre(const HyperSpec& spec) : spec(spec) {}
  const HyperSpec spec;
  std::string describe() const override;
  Input input(size_t index) const override { return {.role = index == 0 ? Role::kActivation : Role::kWeight}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// out[k, c] = round(post[k] * f[c] + sum), sum over j, ascending from 0, of comb[j][k] * h[j, c]; no fma (see HcPre).
// in: f activation [T, d], h activation [T, m, d], mix F32 [T, 2m + m*m].  out: activation [T, m, d].
class HcPost final : public OpOf<OpKind::kHcPost> {
 public:
  explicit HcPost(int streams) : streams(streams) {}
  const int streams;
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// The final collapse and norm: g[j] = em_sigmoid(mix[j] * scale[0] + base[j]) + eps with mix as in HcPre (m rows of
// fn); x[c] = round(sum g[j] * h[j, c]); then RmsNorm(rms_eps, norm_w). Spec sections 5.4 and 9.
// in: h activation [T|S, m, d], fn F32 [m, m*d], scale F32 [1], base F32 [m], norm_w BF16|F32 [d].  out: activation
// [T|S, d].
class HcHead final : public OpOf<OpKind::kHcHead> {
 public:
  HcHead(const HyperSpec& spec, LiveRows rows) : spec(spec), rows(rows) {}
  const HyperSpec spec;
  const LiveRows rows;
  std::string describe() const override;
  Input input(size_t index) const override { return {.role = index == 0 ? Role::kActivation : Role::kWeight}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
