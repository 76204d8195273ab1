#include "graph/model/v4_cost.h"

#include <algorithm>

#include "loaders/checkpoint/v4_names.h"
#include "ops/attention/row_format.h"

namespace v4rt {
namespace {

double product(std::initializer_list<int64_t> factors) {
  double result = 1;
  for (const int64_t f : factors) result *= static_cast<double>(f);
  return result;
}

RowFormat main_row(const V4Config& c, NumberMode numbers) {
  if (numbers == NumberMode::kPlain) return {RowFormat::Kind::kF32, c.head_dim, 0};
  return {RowFormat::Kind::kFp8Tail, c.head_dim, c.rope_head_dim};
}

RowFormat index_row(const V4Config& c, NumberMode numbers) {
  return {numbers == NumberMode::kPlain ? RowFormat::Kind::kF32 : RowFormat::Kind::kFp4, c.index_head_dim, 0};
}

// Values and scores, in fp32, of the rows whose block is not complete yet: c * r rows of 2 * c * width.
double pending_bytes(int ratio, int64_t width) {
  const int64_t halves = V4Config::overlaps(ratio) ? 2 : 1;
  return product({halves * ratio, 2 * halves * width, 4});
}

}  // namespace

LinearMacs linear_macs(const V4Config& c) {
  LinearMacs m;
  const int64_t d = c.hidden_size, heads = int64_t{c.num_heads} * c.head_dim,
                groups = int64_t{c.o_groups} * c.o_lora_rank;
  const int64_t streams = c.hc_mult, mixes = streams * (2 + streams);
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const int ratio = c.layer_ratio(layer);
    m.attention +=
        product({d, c.q_lora_rank}) + product({c.q_lora_rank, heads}) + product({c.head_dim, d}) + product({groups, d});
    m.output_groups += product({heads, c.o_lora_rank});
    if (ratio > 0) m.compressor += product({2, d, V4Config::overlaps(ratio) ? 2 : 1, c.head_dim});
    if (V4Config::overlaps(ratio)) {
      m.compressor += product({2, d, 2, c.index_head_dim});
      m.index_query += product({c.q_lora_rank, c.index_n_heads, c.index_head_dim});
      m.index_weights += product({d, c.index_n_heads});
    }
    m.experts += product({c.num_experts_per_token + c.num_shared_experts, 3, d, c.moe_intermediate_size});
    m.gate += product({d, c.num_experts});
    m.hyper += product({2, mixes, streams, d});  // before attention and before the experts
  }
  m.hyper += product({streams, streams, d});
  m.head = product({c.vocab_size, d});
  return m;
}

ContextMacs context_macs(const V4Config& c, int64_t context) {
  ContextMacs m;
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const int ratio = c.layer_ratio(layer);
    int64_t rows = std::min<int64_t>(c.sliding_window, context);
    if (V4Config::overlaps(ratio)) {
      rows += std::min<int64_t>(c.index_topk, context / ratio);
      m.indexer += product({c.index_n_heads, c.index_head_dim, context / ratio});
    } else if (ratio > 0) {
      rows += context / ratio;
    }
    m.core += product({c.num_heads, 2, c.head_dim, rows});
  }
  return m;
}

double flops(const LinearMacs& linear, const ContextMacs& context) {
  return 2 * (linear.total() + context.core + context.indexer);
}

double flops_fp8_equivalent(const LinearMacs& linear, const ContextMacs& context, double index_scores) {
  const double others = linear.total() - linear.low_precision();
  return 2 * (linear.low_precision() + 2 * others + 2 * context.core + index_scores * context.indexer);
}

double token_flops(const V4Config& c, int64_t context) { return flops(linear_macs(c), context_macs(c, context)); }
double token_flops_fp8_equivalent(const V4Config& c, int64_t context) {
  return flops_fp8_equivalent(linear_macs(c), context_macs(c, context), 0.5);
}

CacheBytes cache_bytes(const V4Config& c, NumberMode numbers, int64_t context) {
  const double row = static_cast<double>(main_row(c, numbers).bytes());
  const double key = static_cast<double>(index_row(c, numbers).bytes());
  CacheBytes bytes;
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const int ratio = c.layer_ratio(layer);
    bytes.window += row * static_cast<double>(std::min<int64_t>(c.sliding_window, context));
    if (ratio == 0) continue;
    const int64_t whole_blocks = context / ratio;
    const double entries = static_cast<double>(whole_blocks);
    bytes.compressed += row * entries;
    bytes.pending += pending_bytes(ratio, c.head_dim);
    if (!V4Config::overlaps(ratio)) continue;
    bytes.index += key * entries;
    bytes.pending += pending_bytes(ratio, c.index_head_dim);
  }
  return bytes;
}

double total_parameters(const V4Config& config) {
  V4Config main = config;
  main.has_mtp = false;
  double sum = 0;
  for (const WeightInfo& weight : v4_weights(main))
    if (weight.role != WeightRole::kTable) sum += static_cast<double>(weight.shape.elements());
  return sum;
}

}  // namespace v4rt
