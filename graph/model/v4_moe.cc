// Spec section 8: routed experts by score or by token id, and the shared expert.

#include "graph/model/v4_layers.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

struct Route {
  ValueId ids, weights;
};

Route route(V4Builder& m, const LayerPlan& layer, ValueId x, ValueId ids, const std::string& at) {
  const int k = m.config.num_experts_per_token;
  const auto scale = static_cast<float>(m.config.routed_scaling_factor);
  const ValueId z = m.g.add<Linear>("gate", {x, m.weight(at + "gate.weight")}, DType::kF32);
  const auto out =
      layer.hash
          ? m.g.emit("route", std::make_shared<const RouteHash>(k, scale), {z, m.weight(at + "gate.tid2eid"), ids})
          : m.g.emit("route", std::make_shared<const RouteTopK>(k, scale), {z, m.weight(at + "gate.bias")});
  return {out[0], out[1]};
}

}  // namespace

ValueId v4_moe(V4Builder& m, const LayerPlan& layer, ValueId x, ValueId ids) {
  const auto scope = m.g.scope("ffn");
  const std::string at = layer.prefix + "ffn.";
  const auto limit = static_cast<float>(m.config.swiglu_limit);

  const std::string w13 = at + "shared_experts.w13.weight", w2 = at + "shared_experts.w2.weight";
  const std::string w1_experts = at + "experts.w1.weight", w2_experts = at + "experts.w2.weight",
                    w3_experts = at + "experts.w3.weight";
  const Route chosen = route(m, layer, x, ids, at);

  const ValueId gate_up = m.linear("shared.gate_up", x, w13);
  const ValueId shared = m.linear("shared.down", m.g.add<Swiglu>("shared.swiglu", {gate_up}, limit), w2);

  const ValueId rounded = m.quantised("experts.fake_quant", x, {w1_experts, w3_experts});
  const ValueId inner = m.g.add<MoeGateUp>(
      "experts.gate_up", {rounded, chosen.ids, chosen.weights, m.weight(w1_experts), m.weight(w3_experts)}, limit);
  const ValueId inner_rounded = m.quantised("experts.inner_fake_quant", inner, {w2_experts});
  return m.g.add<MoeDown>("experts.down", {inner_rounded, chosen.ids, m.weight(w2_experts), shared});
}

}  // namespace v4rt
