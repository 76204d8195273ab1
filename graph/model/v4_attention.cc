// Spec section 7: projections, sliding window, compressed sparse (ratio 4) and heavily compressed (ratio 128)
// attention.

#include <algorithm>
#include <cmath>

#include "graph/model/v4_layers.h"
#include "ops/attention/attention.h"
#include "ops/linear/linear.h"
#include "ops/quant/quant.h"

namespace v4rt {
namespace {

struct Attention {
  V4Builder& m;
  const LayerPlan& layer;
  std::string prefix;  // "layers.3.attn."

  const V4Config& c() const { return m.config; }
  float eps() const { return static_cast<float>(c().rms_norm_eps); }
  std::string state(std::string_view name) const { return layer.prefix + std::string(name); }

  ValueId rows_state(std::string_view name, int64_t rows, const RowFormat& format) {
    return m.g.state(state(name), {DType::kU8, Shape{m.options.slots, rows, format.bytes()}});
  }

  // Section 7.2: pools every completed block of x's projections into `format` rows. `where`: "" or "indexer.".
  ValueId compress(const std::string& where, ValueId x, const RowFormat& format) {
    const CompressSpec spec{.ratio = layer.ratio,
                            .overlap = V4Config::overlaps(layer.ratio),
                            .format = format,
                            .table = m.rope(layer.ratio),
                            .eps = eps(),
                            .rounds = m.faithful(),
                            .hadamard = m.faithful() && !where.empty()};
    const std::string at = prefix + where + "compressor.";
    const auto scope = m.g.scope(where + "compress");
    const ValueId values = m.g.add<Linear>("wkv_gate", {x, m.weight(at + "wkv_gate.weight")}, DType::kF32);
    const RowFormat pending_format{RowFormat::Kind::kF32, 2 * spec.width(), 0};
    const int64_t pending_rows = spec.pending_rows() + m.options.rewind;
    const TensorType pending_type{DType::kF32, Shape{m.options.slots, pending_rows, pending_format.dim}};
    const ValueId pending = m.g.state(state(where + "pending"), pending_type);
    const ValueId cache = rows_state(where + "cache", std::max<int64_t>(1, m.options.context / layer.ratio), format);
    const ValueId pooled = m.g.add<CompressPool>(
        "pool", {values, pending, m.weight(at + "ape"), m.weight(at + "norm.weight"), cache}, spec);
    m.g.add<RingAppend>("pending", {values, pending}, pending_format);
    return pooled;
  }

  // Section 7.5: which entries each query reads.
  ValueId select(ValueId x, ValueId q_rank, ValueId keys) {
    const auto scope = m.g.scope("indexer");
    const int heads = c().index_n_heads, dim = c().index_head_dim;
    const IndexSpec spec{.ratio = layer.ratio,
                         .top_k = c().index_topk,
                         .format = m.index_format(),
                         .weight_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim) * heads)),
                         .rounds = m.faithful()};
    ValueId q = m.linear("wq_b", q_rank, prefix + "indexer.wq_b.weight", heads);
    q = m.g.add<RopeTail>("rope", {q}, m.rope(layer.ratio), false);
    if (m.faithful()) {
      q = m.g.add<Hadamard>("hadamard", {q});
      q = m.g.add<FakeQuant>("fake_quant", {q}, QuantGrid::kFp4, 32);
    }
    const ValueId weights = m.linear("weights_proj", x, prefix + "indexer.weights_proj.weight");
    return m.g.add<IndexSelect>("select", {q, weights, keys}, spec);
  }

  ValueId queries(ValueId q_rank) {
    ValueId q = m.linear("wq_b", q_rank, prefix + "wq_b.weight", c().num_heads);
    q = m.g.add<HeadRms>("q_rms", {q}, eps());
    return m.g.add<RopeTail>("q_rope", {q}, m.rope(layer.ratio), false);
  }

  // The window ring with this chunk's rows appended. It holds a chunk beyond the window, so that early queries still
  // find theirs; or as many rows as a sequence can go back by.
  ValueId window(ValueId x) {
    const RowFormat format = m.kv_format();
    ValueId kv = m.linear("wkv", x, prefix + "wkv.weight");
    kv = m.g.add<RmsNorm>("kv_norm", {kv, m.weight(prefix + "kv_norm.weight")}, eps());
    kv = m.g.add<RopeTail>("kv_rope", {kv}, m.rope(layer.ratio), false);
    if (m.faithful()) kv = m.g.add<FakeQuant>("kv_quant", {kv}, QuantGrid::kFp8, 64, c().head_dim - c().rope_head_dim);
    const int64_t beyond = std::max(m.options.max_tokens, m.options.rewind);
    return m.g.add<RingAppend>("window", {kv, rows_state("window", c().sliding_window + beyond, format)}, format);
  }

  ValueId attend(ValueId q, ValueId ring, ValueId cache, ValueId chosen) {
    const AttendSpec spec{.window = c().sliding_window,
                          .ratio = layer.ratio,
                          .top_k = chosen >= 0 ? c().index_topk : 0,
                          .format = m.kv_format(),
                          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c().head_dim))),
                          .rounds = m.faithful()};
    std::vector<ValueId> in{q, ring, m.weight(prefix + "attn_sink")};
    if (cache >= 0) in.push_back(cache);
    if (chosen >= 0) in.push_back(chosen);
    return m.g.emit("attend", std::make_shared<const Attend>(spec), std::span<const ValueId>(in)).front();
  }

  // Section 7.7. wo_a's product takes unrounded activations, also where its weight is stored in FP8.
  ValueId project_out(ValueId o) {
    o = m.g.add<RopeTail>("o_rope", {o}, m.rope(layer.ratio), true);
    const ValueId u = m.g.add<Linear>("wo_a", {o, m.weight(prefix + "wo_a.weight")}, m.activation(), c().o_groups,
                                      LiveRows::kTokens, Linear::kFlat);
    return m.linear("wo_b", u, prefix + "wo_b.weight");
  }
};

}  // namespace

ValueId v4_attention(V4Builder& m, const LayerPlan& layer, ValueId x) {
  const auto scope = m.g.scope("attn");
  Attention a{m, layer, layer.prefix + "attn."};
  ValueId q_rank = m.linear("wq_a", x, a.prefix + "wq_a.weight");
  q_rank = m.g.add<RmsNorm>("q_norm", {q_rank, m.weight(a.prefix + "q_norm.weight")}, a.eps());
  const ValueId q = a.queries(q_rank);
  const ValueId ring = a.window(x);
  ValueId cache = -1, chosen = -1;
  if (layer.ratio > 0) cache = a.compress("", x, m.kv_format());
  if (V4Config::overlaps(layer.ratio)) {
    chosen = a.select(x, q_rank, a.compress("indexer.", x, m.index_format()));
  }
  return a.project_out(a.attend(q, ring, cache, chosen));
}

}  // namespace v4rt
