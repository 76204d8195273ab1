#include "graph/model/v32_cost.h"

#include <algorithm>

namespace v4rt {
namespace {

double as_double(int64_t n) { return static_cast<double>(n); }

}  // namespace

// When decoding, the up-projection of keys and values is applied to the query and to the output instead: as many MACs.
LinearMacs linear_macs(const V32Config& c) {
  const int64_t d = c.hidden_size, key_dim = c.head_dim + c.rope_head_dim;
  const int64_t query = d * c.q_lora_rank + c.q_lora_rank * c.num_heads * key_dim;
  const int64_t latent = d * (c.kv_lora_rank + c.rope_head_dim), up = c.kv_lora_rank * c.num_heads * 2 * c.head_dim;
  const int64_t output = c.num_heads * c.head_dim * d;
  const int64_t moe_layers = c.num_layers - c.num_dense_layers;
  const int64_t active = c.num_experts_per_token + c.num_shared_experts;
  LinearMacs m;
  m.attention = as_double(c.num_layers * (query + latent + up + output));
  m.index_query =
      as_double(c.num_layers * (c.q_lora_rank * c.index_n_heads * c.index_head_dim + d * c.index_head_dim));  // and key
  m.index_weights = as_double(c.num_layers * d * c.index_n_heads);
  m.experts = as_double(
      3 * d * (c.num_dense_layers * c.dense_intermediate_size + moe_layers * active * c.moe_intermediate_size));
  m.gate = as_double(moe_layers * d * c.num_experts);
  m.head = as_double(c.vocab_size * d);
  return m;
}

// Keys are latents with their rotary part, values latents.
ContextMacs context_macs(const V32Config& c, int64_t context) {
  const int64_t width = (c.kv_lora_rank + c.rope_head_dim) + c.kv_lora_rank;
  return {.core = as_double(c.num_layers * c.num_heads * width * std::min(c.index_topk, context)),
          .indexer = as_double(c.num_layers * c.index_n_heads * c.index_head_dim * context)};
}

double token_flops(const V32Config& c, int64_t context) { return flops(linear_macs(c), context_macs(c, context)); }
double token_flops_fp8_equivalent(const V32Config& c, int64_t context) {
  return flops_fp8_equivalent(linear_macs(c), context_macs(c, context), 1);
}

// A latent is FP8 with an f32 scale for 128 numbers, its rotary part bf16; an index key FP8 with one scale.
CacheBytes cache_bytes(const V32Config& c, int64_t context) {
  const int64_t row = c.kv_lora_rank + c.kv_lora_rank / 128 * 4 + c.rope_head_dim * 2, key = c.index_head_dim + 4;
  return {.compressed = as_double(c.num_layers * context * row), .index = as_double(c.num_layers * context * key)};
}

}  // namespace v4rt
