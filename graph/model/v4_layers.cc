#include "graph/model/v4_layers.h"

#include "ops/linear/linear.h"
#include "ops/quant/quant.h"

namespace v4rt {

LayerPlan layer_plan(const V4Config& config, int layer) {
  return {fmt::format("L{:02}", layer), fmt::format("layers.{}.", layer), config.layer_ratio(layer),
          layer < config.num_hash_layers};
}

LayerPlan mtp_plan(const V4Config&) { return {"block", "mtp.0.", 0, false}; }

HyperSpec hyper_spec(const V4Config& c) {
  return {c.hc_mult, c.hc_sinkhorn_iters, static_cast<float>(c.hc_eps), static_cast<float>(c.rms_norm_eps)};
}

RopeTable V4Builder::rope(int ratio) const {
  const V4Config& c = config;
  if (ratio == 0) return {.dims = c.rope_head_dim, .theta = static_cast<float>(c.rope_theta)};
  return {.dims = c.rope_head_dim,
          .theta = static_cast<float>(c.compress_rope_theta),
          .factor = static_cast<float>(c.rope_factor),
          .original_context = c.rope_original_context,
          .beta_fast = static_cast<float>(c.rope_beta_fast),
          .beta_slow = static_cast<float>(c.rope_beta_slow)};
}

RowFormat V4Builder::kv_format() const {
  if (!faithful()) return {RowFormat::Kind::kF32, config.head_dim, 0};
  return {RowFormat::Kind::kFp8Tail, config.head_dim, config.rope_head_dim};
}

RowFormat V4Builder::index_format() const {
  return {faithful() ? RowFormat::Kind::kFp4 : RowFormat::Kind::kF32, config.index_head_dim, 0};
}

ValueId V4Builder::weight(const std::string& name) {
  if (const auto found = weights.find(name); found != weights.end()) return found->second;
  const ValueId id = g.weight(name, source.type(name));
  weights.emplace(name, id);
  return id;
}

ValueId V4Builder::quantised(std::string_view name, ValueId x, std::initializer_list<std::string_view> for_weights) {
  if (!faithful()) return x;
  const ActivationRounding rounding = source.activation_rounding(*for_weights.begin());
  for (const std::string_view weight : for_weights) {
    const ActivationRounding own = source.activation_rounding(weight);
    check(
        own == rounding && own != ActivationRounding::kMixed, Code::kUnsupported,
        "{}: some of its tensors are stored in FP8 or FP4, others, or its partner's, in more bits; the release rounds "
        "activations before the former alone: store them alike, or run with plain numbers",
        weight);
  }
  if (rounding == ActivationRounding::kNone) return x;
  const auto found = rounded.find(x);
  if (found != rounded.end()) return found->second;
  return rounded[x] = g.add<FakeQuant>(name, {x}, QuantGrid::kFp8, 128);
}

ValueId V4Builder::linear(std::string_view name, ValueId x, const std::string& weight_name, int heads) {
  const ValueId rounded = quantised(std::string(name) + ".fake_quant", x, {weight_name});
  return g.add<Linear>(name, {rounded, weight(weight_name)}, activation(), 1, LiveRows::kTokens, heads);
}

HyperMix hc_pre(V4Builder& m, const LayerPlan& layer, std::string_view part, ValueId streams) {
  const std::string hc = layer.prefix + "hc_" + std::string(part);
  const auto out = m.g.emit("hc_pre." + std::string(part), std::make_shared<const HcPre>(hyper_spec(m.config)),
                            {streams, m.weight(hc + "_fn"), m.weight(hc + "_scale"), m.weight(hc + "_base"),
                             m.weight(layer.prefix + std::string(part) + "_norm.weight")});
  return {out[0], out[1]};
}

ValueId hc_post(V4Builder& m, std::string_view part, ValueId f, ValueId streams, ValueId mix) {
  return m.g.add<HcPost>("hc_post." + std::string(part), {f, streams, mix}, m.config.hc_mult);
}

}  // namespace v4rt
