#include "graph/model/v4_model.h"

#include <cmath>

#include "graph/ir/builder.h"
#include "graph/model/v4_layers.h"
#include "ops/basic/basic.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

void check_options(const V4Config& config, const GraphOptions& o) {
  check(o.tokens >= 1 && o.tokens <= o.max_tokens, Code::kInvalidArgument, "a chunk of {} tokens does not fit the largest, {}", o.tokens,
        o.max_tokens);
  check(o.segments >= 1 && o.segments <= o.slots, Code::kInvalidArgument, "{} segments in a chunk, but {} sequences", o.segments, o.slots);
  check(o.context >= 1 && o.context <= config.max_position, Code::kInvalidArgument,
        "context of {} positions: this model takes 1 to {}", o.context, config.max_position);
  check(!o.mtp || config.has_mtp, Code::kInvalidArgument, "this checkpoint has no MTP block");
}

// Streams [rows, m, d] to logits [rows, V] (spec sections 5.4 and 9).
ValueId head(V4Builder& m, ValueId streams, LiveRows rows, const std::string& prefix, ValueId head_weight) {
  const V4Config& c = m.config;
  const ValueId x = m.g.add<HcHead>("hc_head", {streams, m.weight(prefix + "hc_head_fn"), m.weight(prefix + "hc_head_scale"),
                                                 m.weight(prefix + "hc_head_base"), m.weight(prefix + "norm.weight")},
                                    hyper_spec(c), rows);
  return m.g.add<Linear>("head", {x, head_weight}, DType::kF32, 1, rows);
}

// Spec section 2: one block on the streams.
ValueId block(V4Builder& m, const LayerPlan& layer, ValueId streams, ValueId ids) {
  const auto scope = m.g.scope(layer.label);
  const HyperMix attn = hc_pre(m, layer, "attn", streams);
  streams = hc_post(m, "attn", v4_attention(m, layer, attn.x), streams, attn.mix);
  const HyperMix ffn = hc_pre(m, layer, "ffn", streams);
  return hc_post(m, "ffn", v4_moe(m, layer, ffn.x, ids), streams, ffn.mix);
}

// Spec section 11: streams of position i and the token after it to logits of the token after that.
ValueId mtp_logits(V4Builder& m, ValueId streams, ValueId next_ids, ValueId embed, ValueId head_weight) {
  const V4Config& c = m.config;
  const LayerPlan layer = mtp_plan(c);
  const auto scope = m.g.scope("mtp");
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const ValueId token = m.g.add<EmbedRows>("embed", {next_ids, embed}, m.activation(), 0);
  const ValueId e = m.g.add<RmsNorm>("enorm", {token, m.weight("mtp.0.enorm.weight")}, eps);
  const ValueId h = m.g.add<RmsNorm>("hnorm", {streams, m.weight("mtp.0.hnorm.weight")}, eps);
  const ValueId x = m.g.add<AddStreams>("join", {m.linear("e_proj", e, "mtp.0.e_proj.weight"), m.linear("h_proj", h, "mtp.0.h_proj.weight")});
  return head(m, block(m, layer, x, next_ids), LiveRows::kTokens, "mtp.0.", head_weight);
}

}  // namespace

Graph build_v4(const V4Config& config, const GraphOptions& options, const std::function<TensorType(std::string_view)>& weight_type) {
  check_options(config, options);
  V4Builder m{config, options, weight_type, {}, {}, {}};
  const ValueId ids = m.g.input("ids", {DType::kI32, Shape{options.tokens}});
  const ValueId embed = m.weight("embed.weight"), head_weight = m.weight("head.weight");

  ValueId streams = m.g.add<EmbedRows>("embed", {ids, embed}, m.activation(), config.hc_mult);
  for (int l = 0; l < config.num_layers; ++l) streams = block(m, layer_plan(config, l), streams, ids);

  const bool all = options.logits == LogitsOf::kAllRows;
  const ValueId seen = all ? streams : m.g.add<TakeLast>("take_last", {streams}, options.segments);
  m.g.output("logits", head(m, seen, all ? LiveRows::kTokens : LiveRows::kSegments, "", head_weight));
  if (options.mtp) {
    const ValueId next_ids = m.g.input("next_ids", {DType::kI32, Shape{options.tokens}});
    m.g.output("mtp_logits", mtp_logits(m, streams, next_ids, embed, head_weight));
  }
  return m.g.take();
}

}  // namespace v4rt
