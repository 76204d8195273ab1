#pragma once

#include <cstdint>

#include "graph/model/v4_cost.h"

namespace v4rt {

// DeepSeek-V3.2, which V4's report compares itself with, as far as its costs go: latent attention over the positions
// that DeepSeek Sparse Attention selects. Every layer caches a latent and an index key of each position, and its
// indexer scores all of them.
struct V32Config {
  int64_t vocab_size = 129280, hidden_size = 7168;
  int64_t num_layers = 61, num_dense_layers = 3;
  int64_t num_heads = 128, q_lora_rank = 1536, kv_lora_rank = 512, rope_head_dim = 64, head_dim = 128;
  int64_t index_n_heads = 64, index_head_dim = 128, index_topk = 2048;
  int64_t num_experts = 256, num_experts_per_token = 8, num_shared_experts = 1;
  int64_t dense_intermediate_size = 18432, moe_intermediate_size = 2048;
};

// As for V4 (v4_cost.h), with the same weights of precisions; V3.2's index scores are FP8.
LinearMacs linear_macs(const V32Config& config);
ContextMacs context_macs(const V32Config& config, int64_t context);
double token_flops(const V32Config& config, int64_t context);
double token_flops_fp8_equivalent(const V32Config& config, int64_t context);
CacheBytes cache_bytes(const V32Config& config, int64_t context);

}  // namespace v4rt
