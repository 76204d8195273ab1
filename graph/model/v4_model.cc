#include "graph/model/v4_model.h"

#include <cmath>

#include "graph/ir/builder.h"
#include "graph/model/v4_layers.h"
#include "ops/attention/attention.h"
#include "ops/basic/basic.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

void check_options(const V4Config& config, const GraphOptions& o) {
  check(o.tokens >= 1 && o.tokens <= o.max_tokens, Code::kInvalidArgument,
        "a chunk of {} tokens does not fit the largest, {}", o.tokens, o.max_tokens);
  check(o.segments >= 1 && o.segments <= o.slots, Code::kInvalidArgument, "{} segments in a chunk, but {} sequences",
        o.segments, o.slots);
  check(o.context >= 1 && o.context <= config.max_position, Code::kInvalidArgument,
        "context of {} positions: this model takes 1 to {}", o.context, config.max_position);
  check(config.has_mtp || (o.logits <= LogitsOf::kAllRows && !o.draft), Code::kInvalidArgument,
        "this checkpoint has no MTP block");
}

// Streams [rows, m, d] to logits [rows, V] (spec sections 5.4 and 9).
ValueId head(V4Builder& m, ValueId streams, LiveRows rows, const std::string& prefix, ValueId head_weight) {
  const V4Config& c = m.config;
  const ValueId x = m.g.add<HcHead>("hc_head",
                                    {streams, m.weight(prefix + "hc_head_fn"), m.weight(prefix + "hc_head_scale"),
                                     m.weight(prefix + "hc_head_base"), m.weight(prefix + "norm.weight")},
                                    hyper_spec(c), rows);
  return m.g.add<Linear>("head", {x, head_weight}, DType::kF32, 1, rows);
}

struct Block {
  ValueId attn, ffn, out;  // outputs of the two sublayers, and the streams after them
};

// Spec section 2: one block on the streams.
Block block(V4Builder& m, const LayerPlan& layer, ValueId streams, ValueId ids) {
  const auto scope = m.g.scope(layer.label);
  const HyperMix before_attn = hc_pre(m, layer, "attn", streams);
  const ValueId attn = v4_attention(m, layer, before_attn.x);
  streams = hc_post(m, "attn", attn, streams, before_attn.mix);
  const HyperMix before_ffn = hc_pre(m, layer, "ffn", streams);
  const ValueId ffn = v4_moe(m, layer, before_ffn.x, ids);
  return {attn, ffn, hc_post(m, "ffn", ffn, streams, before_ffn.mix)};
}

// Spec section 11: what the MTP block reads, from the streams of position i and the token after it.
ValueId mtp_streams(V4Builder& m, ValueId streams, ValueId next_ids, ValueId embed) {
  const auto eps = static_cast<float>(m.config.rms_norm_eps);
  const ValueId token = m.g.add<EmbedRows>("embed", {next_ids, embed}, m.activation(), 0);
  const ValueId e = m.g.add<RmsNorm>("enorm", {token, m.weight("mtp.0.enorm.weight")}, eps);
  const ValueId h = m.g.add<RmsNorm>("hnorm", {streams, m.weight("mtp.0.hnorm.weight")}, eps);
  return m.g.add<AddStreams>(
      "join", {m.linear("e_proj", e, "mtp.0.e_proj.weight"), m.linear("h_proj", h, "mtp.0.h_proj.weight")});
}

// The streams after the MTP block; its logits are of the token after the next.
ValueId mtp_block(V4Builder& m, ValueId streams, ValueId next_ids, ValueId embed) {
  const ValueId x = mtp_streams(m, streams, next_ids, embed);
  return block(m, mtp_plan(m.config), x, next_ids).out;
}

// The streams of the last tokens: as many as the MTP block's window and going back take.
RowFormat kept_format(const V4Builder& m) {
  const auto kind = m.faithful() ? RowFormat::Kind::kBF16 : RowFormat::Kind::kF32;
  return {kind, static_cast<int>(m.config.hc_mult * m.config.hidden_size), 0};
}
ValueId kept_streams(V4Builder& m) {
  const int64_t rows = m.config.sliding_window + m.options.rewind + 1;
  return m.g.state("mtp.0.streams", {DType::kU8, Shape{m.options.slots, rows, kept_format(m).bytes()}});
}

Graph build_draft(V4Builder& m) {
  const V4Config& c = m.config;
  const ValueId next_ids = m.g.input("next_ids", {DType::kI32, Shape{m.options.tokens}});
  const ValueId embed = m.weight("embed.weight"), head_weight = m.weight("head.weight");
  const auto scope = m.g.scope("mtp");
  const ValueId streams =
      m.options.logits == LogitsOf::kNextDraft
          ? m.g.input("streams", {m.activation(), Shape{m.options.tokens, c.hc_mult, c.hidden_size}})
          : m.g.add<RingRead>("streams", {next_ids, kept_streams(m)}, kept_format(m), m.activation(), c.hc_mult,
                              int64_t{c.sliding_window});
  const ValueId out = m.g.add<TakeLast>("take_last", {mtp_block(m, streams, next_ids, embed)}, m.options.segments);
  m.g.output("streams", out);
  m.g.output("logits", head(m, out, LiveRows::kSegments, "mtp.0.", head_weight));
  return m.g.take();
}

}  // namespace

Graph build_v4(const WeightSource& weights, const GraphOptions& options) {
  const V4Config& config = weights.config();
  check_options(config, options);
  V4Builder m{weights, config, options, {}, {}, {}};
  if (options.logits == LogitsOf::kDraft || options.logits == LogitsOf::kNextDraft) return build_draft(m);
  const ValueId ids = m.g.input("ids", {DType::kI32, Shape{options.tokens}});
  const ValueId embed = m.weight("embed.weight"), head_weight = m.weight("head.weight");

  ValueId streams = m.g.add<EmbedRows>("embed", {ids, embed}, m.activation(), config.hc_mult);
  for (int l = 0; l < config.num_layers; ++l) streams = block(m, layer_plan(config, l), streams, ids).out;

  if (options.draft) m.g.add<RingAppend>("keep_streams", {streams, kept_streams(m)}, kept_format(m));

  const bool all = options.logits != LogitsOf::kLastRows;
  const ValueId seen = all ? streams : m.g.add<TakeLast>("take_last", {streams}, options.segments);
  m.g.output("logits", head(m, seen, all ? LiveRows::kTokens : LiveRows::kSegments, "", head_weight));
  if (options.logits == LogitsOf::kAllRowsAndMtp) {
    const ValueId next_ids = m.g.input("next_ids", {DType::kI32, Shape{options.tokens}});
    const auto scope = m.g.scope("mtp");
    const ValueId out = mtp_block(m, streams, next_ids, embed);
    m.g.output("mtp_logits", head(m, out, LiveRows::kTokens, "mtp.0.", head_weight));
  }
  return m.g.take();
}

bool is_mtp_state(std::string_view name) { return name.starts_with("mtp."); }

Graph build_v4_layer(const WeightSource& weights, const GraphOptions& options, int layer) {
  const V4Config& config = weights.config();
  check_options(config, options);
  const bool mtp = layer == config.num_layers;
  check(layer >= 0 && layer < config.num_layers + (config.has_mtp ? 1 : 0), Code::kInvalidArgument,
        "there is no layer {}", layer);
  V4Builder m{weights, config, options, {}, {}, {}};
  const ValueId ids = m.g.input("ids", {DType::kI32, Shape{options.tokens}});
  ValueId streams = m.g.input("streams", {m.activation(), Shape{options.tokens, config.hc_mult, config.hidden_size}});
  if (mtp) streams = mtp_streams(m, streams, ids, m.weight("embed.weight"));
  const Block made = block(m, mtp ? mtp_plan(config) : layer_plan(config, layer), streams, ids);
  m.g.output("attn", made.attn);
  m.g.output("ffn", made.ffn);
  m.g.output("out", made.out);
  return m.g.take();
}

}  // namespace v4rt
