#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

class FileSource;

// The architecture of one checkpoint (spec section 1). Comments give V4-Flash's values.
struct V4Config {
  int64_t vocab_size = 0;            // 129280
  int hidden_size = 0;               // 4096
  int num_layers = 0;                // 43
  int num_heads = 0;                 // 64
  int head_dim = 0;                  // 512
  int rope_head_dim = 0;             // 64
  int q_lora_rank = 0;               // 1024
  int o_lora_rank = 0;               // 1024
  int o_groups = 0;                  // 8
  int sliding_window = 0;            // 128
  std::vector<int> compress_ratios;  // one per layer: 0, 4 or 128; entry num_layers is the MTP block's
  double rope_theta = 10000;
  double compress_rope_theta = 160000;
  double rope_factor = 1;         // 16
  int rope_original_context = 0;  // 65536
  double rope_beta_fast = 32, rope_beta_slow = 1;
  int64_t max_position = 0;       // 1048576
  int index_n_heads = 0;          // 64
  int index_head_dim = 0;         // 128
  int index_topk = 0;             // 512
  int num_experts = 0;            // 256
  int num_experts_per_token = 0;  // 6
  int num_shared_experts = 1;
  int moe_intermediate_size = 0;     // 2048
  int num_hash_layers = 0;           // 3
  double routed_scaling_factor = 1;  // 1.5
  double swiglu_limit = 0;           // 10; 0 = no clamp
  int hc_mult = 4;
  int hc_sinkhorn_iters = 20;
  double hc_eps = 1e-6;
  double rms_norm_eps = 1e-6;
  bool has_mtp = false;  // the classic MTP block's tensors are really there
  int32_t bos_token_id = 0;
  std::vector<int32_t> eos_token_ids = {1};  // any of them ends a text; the first one closes a turn of a chat

  // Which ratios pool two blocks (spec 7.2): 4 does, 128 does not.
  static bool overlaps(int ratio) { return ratio == 4; }
  int layer_ratio(int layer) const { return compress_ratios[static_cast<size_t>(layer)]; }
};

// Reads the official keys and those of transformers 5 (spec checkpoints.md section 2). Every value is checked against
// the others and against bounds that keep products of sizes far from overflow. compress_ratios comes back with
// num_layers + 1 entries; has_mtp is left false: that depends on the tensors. eos_token_ids is empty if the text has
// none; generation_config.json may have them. Throws Error naming file, key, value and way out.
V4Config parse_v4_config(std::string_view json, std::string_view source);
// The same for a file; also refuses it if hf_quant_config.json beside it says that the weights are quantised in another
// way.
V4Config read_v4_config(const std::string& path);
V4Config read_v4_config(const FileSource& files);  // of its config.json

}  // namespace v4rt
