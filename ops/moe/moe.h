#pragma once

#include "ops/op.h"

namespace v4rt {

// Which experts, with which weight (spec section 8.1). s = em_sqrt(em_softplus(z)).
//   route_topk  the k largest of s + bias (em_order), lower index on ties
//   route_hash  ids = tid2eid[token, :]
// Either way the chosen are put in ascending expert order, and weight = em_flush(em_div(s[e], sum of the chosen s in
// that order)) * scale. in (topk): z F32 [T, E], bias F32 [E].  in (hash): z F32 [T, E], table I32 [V, k], tokens I32
// [T]. out: ids I32 [T, k], weights F32 [T, k].
class RouteTopK final : public OpOf<OpKind::kRouteTopK> {
 public:
  RouteTopK(int k, float scale) : k(k), scale(scale) {}
  const int k;
  const float scale;
  std::string describe() const override;
  Input input(size_t index) const override { return {.role = index == 1 ? Role::kWeight : Role::kActivation}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

class RouteHash final : public OpOf<OpKind::kRouteHash> {
 public:
  RouteHash(int k, float scale) : k(k), scale(scale) {}
  const int k;
  const float scale;
  std::string describe() const override;
  Input input(size_t index) const override { return index == 1 ? Input{.role = Role::kTable, .ids = 2} : Input{}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// a = em_swiglu(g, u, limit). (spec section 8.2)
// swiglu: y[t, i] = round(a), g = x[t, i], u = x[t, I + i].  in: x activation [T, 2I].  out: [T, I].
class Swiglu final : public OpOf<OpKind::kSwiglu> {
 public:
  explicit Swiglu(float limit) : limit(limit) {}
  const float limit;
  std::string describe() const override;
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// Gate and up of the chosen experts: y[t, s, i] = round(a * weights[t, s]) with g = round(dot(x[t], gate[ids[t, s],
// i])), u = round(dot(x[t], up[ids[t, s], i])), round = to the activation dtype.
// in: x activation [T, d], ids I32 [T, k], weights F32 [T, k], gate, up weight [E, I, d].  out: activation [T, k, I].
//
// A stack may be cut into ranges. This op then has experts [first, first + E), leaves the rows of other experts as they
// are, and for first > 0 completes what the range before it has begun: that output is a sixth input, changed in place.
class MoeGateUp final : public OpOf<OpKind::kMoeGateUp> {
 public:
  explicit MoeGateUp(float limit, int64_t first = 0) : limit(limit), first(first) {}
  const float limit;
  const int64_t first;
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  std::span<const Alias> aliases() const override;
  std::vector<OpPart> expand(std::span<const TensorType> in, size_t max_bytes) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// y[t, n] = round((sum over s ascending, from 0, of round(dot(x[t, s], down[ids[t, s], n]))) + shared[t, n]).
// in: x activation [T, k, I], ids I32 [T, k], down weight [E, d, I], shared activation [T, d].  out: activation [T, d].
class MoeDown final : public OpOf<OpKind::kMoeDown> {
 public:
  std::string describe() const override;
  Input input(size_t index) const override { return index == 2 ? Input{.role = Role::kExperts, .ids = 1} : Input{}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  std::vector<OpPart> expand(std::span<const TensorType> in, size_t max_bytes) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// moe_down in two steps, for stacks that are cut into ranges and for experts on other machines: what each expert gives,
// part[t, s, n] = round(dot(x[t, s], down[ids[t, s], n])), of experts [first, first + E), as MoeGateUp cuts them;
// in: x activation [T, k, I], ids I32 [T, k], down weight [E, d, I], for first > 0 part.  out: part activation [T, k,
// d].
class MoeDownParts final : public OpOf<OpKind::kMoeDownParts> {
 public:
  explicit MoeDownParts(int64_t first = 0) : first(first) {}
  const int64_t first;
  std::string describe() const override;
  Input input(size_t index) const override { return index == 2 ? Input{.role = Role::kExperts, .ids = 1} : Input{}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  std::span<const Alias> aliases() const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// and their sum: y[t, n] = round((sum over s ascending, from 0, of part[t, s, n]) + shared[t, n]).
// in: part activation [T, k, d], shared activation [T, d].  out: activation [T, d].
class MoeSum final : public OpOf<OpKind::kMoeSum> {
 public:
  std::string describe() const override { return "moe_sum"; }
  Input input(size_t) const override { return {}; }
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
