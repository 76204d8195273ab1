#include "loaders/synthetic/v4_release.h"

#include <nlohmann/json.hpp>

namespace v4rt {
namespace {

// What both models have in common.
V4Config common() {
  V4Config c;
  c.vocab_size = 129280;
  c.head_dim = 512;
  c.rope_head_dim = 64;
  c.o_lora_rank = 1024;
  c.sliding_window = 128;
  c.rope_factor = 16;
  c.rope_original_context = 65536;
  c.max_position = 1048576;
  c.index_n_heads = 64;
  c.index_head_dim = 128;
  c.num_experts_per_token = 6;
  c.num_hash_layers = 3;
  c.swiglu_limit = 10;
  c.has_mtp = true;
  return c;
}

// Two layers of ratio `first`, then 4 and 128 in turn; the MTP block's entry is 0.
std::vector<int> ratios(int layers, int first) {
  std::vector<int> out;
  out.reserve(static_cast<size_t>(layers) + 1);
  for (int layer = 0; layer < layers; ++layer) out.push_back(layer < 2 ? first : layer % 2 == 0 ? 4 : 128);
  out.push_back(0);
  return out;
}

}  // namespace

V4Config v4_flash_config() {
  V4Config c = common();
  c.hidden_size = 4096;
  c.num_layers = 43;
  c.num_heads = 64;
  c.q_lora_rank = 1024;
  c.o_groups = 8;
  c.compress_ratios = ratios(c.num_layers, 0);
  c.index_topk = 512;
  c.num_experts = 256;
  c.moe_intermediate_size = 2048;
  c.routed_scaling_factor = 1.5;
  return c;
}

V4Config v4_pro_config() {
  V4Config c = common();
  c.hidden_size = 7168;
  c.num_layers = 61;
  c.num_heads = 128;
  c.q_lora_rank = 1536;
  c.o_groups = 16;
  c.compress_ratios = ratios(c.num_layers, 128);
  c.index_topk = 1024;
  c.num_experts = 384;
  c.moe_intermediate_size = 3072;
  c.routed_scaling_factor = 2.5;
  return c;
}

std::string official_config_json(const V4Config& c) {
  using json = nlohmann::ordered_json;
  const json object = {
      {"architectures", {"DeepseekV4ForCausalLM"}},
      {"model_type", "deepseek_v4"},
      {"vocab_size", c.vocab_size},
      {"hidden_size", c.hidden_size},
      {"num_hidden_layers", c.num_layers},
      {"num_nextn_predict_layers", c.has_mtp ? 1 : 0},
      {"num_attention_heads", c.num_heads},
      {"num_key_value_heads", 1},
      {"head_dim", c.head_dim},
      {"qk_rope_head_dim", c.rope_head_dim},
      {"q_lora_rank", c.q_lora_rank},
      {"o_lora_rank", c.o_lora_rank},
      {"o_groups", c.o_groups},
      {"sliding_window", c.sliding_window},
      {"compress_ratios", c.compress_ratios},
      {"rope_theta", c.rope_theta},
      {"compress_rope_theta", c.compress_rope_theta},
      {"rope_scaling",
       {{"type", "yarn"},
        {"factor", c.rope_factor},
        {"original_max_position_embeddings", c.rope_original_context},
        {"beta_fast", c.rope_beta_fast},
        {"beta_slow", c.rope_beta_slow}}},
      {"max_position_embeddings", c.max_position},
      {"index_n_heads", c.index_n_heads},
      {"index_head_dim", c.index_head_dim},
      {"index_topk", c.index_topk},
      {"n_routed_experts", c.num_experts},
      {"n_shared_experts", c.num_shared_experts},
      {"num_experts_per_tok", c.num_experts_per_token},
      {"moe_intermediate_size", c.moe_intermediate_size},
      {"num_hash_layers", c.num_hash_layers},
      {"scoring_func", "sqrtsoftplus"},
      {"topk_method", "noaux_tc"},
      {"norm_topk_prob", true},
      {"routed_scaling_factor", c.routed_scaling_factor},
      {"swiglu_limit", c.swiglu_limit},
      {"hc_mult", c.hc_mult},
      {"hc_sinkhorn_iters", c.hc_sinkhorn_iters},
      {"hc_eps", c.hc_eps},
      {"rms_norm_eps", c.rms_norm_eps},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"initializer_range", 0.02},
      {"tie_word_embeddings", false},
      {"torch_dtype", "bfloat16"},
      {"bos_token_id", c.bos_token_id},
      {"eos_token_id", c.eos_token_ids.size() == 1 ? json(c.eos_token_ids.front()) : json(c.eos_token_ids)},
      {"expert_dtype", "fp4"},
      {"quantization_config",
       {{"activation_scheme", "dynamic"},
        {"fmt", "e4m3"},
        {"quant_method", "fp8"},
        {"scale_fmt", "ue8m0"},
        {"weight_block_size", {128, 128}}}},
  };
  return object.dump(2) + "\n";
}

}  // namespace v4rt
