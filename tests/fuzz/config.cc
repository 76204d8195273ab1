// config.json.

#include <algorithm>
#include <bit>
#include <cmath>

#include "loaders/checkpoint/v4_config.h"
#include "tests/fuzz/target.h"

namespace v4rt::fuzz {

void read(std::string_view input) {
  const V4Config c = parse_v4_config(input, "config.json");
  require(c.compress_ratios.size() == static_cast<size_t>(c.num_layers) + 1, "a layer without a ratio");
  require(std::all_of(c.compress_ratios.begin(), c.compress_ratios.end(),
                      [](int ratio) { return ratio == 0 || ratio == 4 || ratio == 128; }),
          "a ratio that no layer has");
  for (const int size : {c.hidden_size, c.num_layers, c.num_heads, c.head_dim, c.rope_head_dim, c.q_lora_rank,
                         c.o_lora_rank, c.o_groups, c.sliding_window, c.num_experts, c.num_experts_per_token,
                         c.moe_intermediate_size, c.hc_mult, c.hc_sinkhorn_iters}) {
    require(size > 0, "a size that is not positive");
  }
  require(c.num_heads % c.o_groups == 0, "heads that do not fill their groups");
  require(c.rope_head_dim % 2 == 0 && c.rope_head_dim <= c.head_dim, "more rotary dimensions than a head has");
  require(c.num_hash_layers >= 0 && c.num_hash_layers <= c.num_layers, "more hash layers than layers");
  require(c.num_experts_per_token <= c.num_experts, "more experts a token than there are");
  require(c.index_head_dim == 0 || std::has_single_bit(static_cast<unsigned>(c.index_head_dim)),
          "an index head that the Hadamard transform cannot take");
  for (const double number : {c.rope_theta, c.compress_rope_theta, c.rope_factor, c.rope_beta_fast, c.rope_beta_slow,
                              c.routed_scaling_factor, c.hc_eps, c.rms_norm_eps}) {
    require(std::isfinite(number) && number > 0, "a number that is not positive");
  }
  require(std::isfinite(c.swiglu_limit) && c.swiglu_limit >= 0, "a negative limit");
  require(c.bos_token_id >= 0 && c.bos_token_id < c.vocab_size, "a begin token outside the vocabulary");
  require(std::all_of(c.eos_token_ids.begin(), c.eos_token_ids.end(),
                      [&](int32_t id) { return id >= 0 && id < c.vocab_size; }),
          "an end token outside the vocabulary");
}

}  // namespace v4rt::fuzz
