#pragma once

// A made-up model with every layer kind that runs in moments.

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "graph/runtime/session.h"
#include "tests/support/memory_weights.h"

namespace v4rt {

inline V4Config tiny_config() {
  V4Config c;
  c.vocab_size = 32, c.hidden_size = 16, c.num_layers = 3, c.num_heads = 4, c.head_dim = 8, c.rope_head_dim = 4;
  c.q_lora_rank = 8, c.o_groups = 2, c.o_lora_rank = 4, c.sliding_window = 4, c.compress_ratios = {0, 4, 8, 0};
  c.rope_factor = 16, c.rope_original_context = 65536, c.max_position = 4096;
  c.index_n_heads = 4, c.index_head_dim = 8, c.index_topk = 2, c.num_experts = 4, c.num_experts_per_token = 2;
  c.moe_intermediate_size = 8, c.num_hash_layers = 1, c.routed_scaling_factor = 1.5, c.swiglu_limit = 1.5,
  c.has_mtp = true;
  return c;
}

inline float tiny_element(const WeightInfo& weight, int64_t index) {
  if (weight.role == WeightRole::kTable) return static_cast<float>((3 * (index / 2) + index % 2) % 4);
  uint32_t x = 2166136261u;
  for (const char c : weight.name) x = (x ^ static_cast<unsigned char>(c)) * 16777619u;
  x += static_cast<uint32_t>(index) * 0x9e3779b9u;
  x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu, x ^= x >> 16;
  const float uniform = 2 * (static_cast<float>(x >> 8) / 16777216.0f) - 1;
  return weight.role == WeightRole::kNorm ? 1 + 0.2f * uniform
                                          : uniform / std::sqrt(static_cast<float>(weight.shape[-1])) * 1.7f;
}

inline std::shared_ptr<const WeightSource> tiny_weights(const V4Config& config = tiny_config()) {
  return std::make_shared<const MemoryWeights>(config, tiny_element);
}

inline ModelOptions tiny_options() {
  ModelOptions options;
  options.device = "reference";
  options.context = 64;
  options.chunk = 7;
  return options;
}

inline std::vector<int32_t> tiny_ids(size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>((7 * i * i + 3 * i + 5) % 32));
  return ids;
}

inline std::vector<float> copy_of(std::span<const float> logits) { return {logits.begin(), logits.end()}; }

}  // namespace v4rt
