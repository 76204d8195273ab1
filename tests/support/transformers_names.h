#pragma once

#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <utility>
#include <vector>

namespace v4rt {

// How transformers spells the official names and keys, written down apart from the loader's own table.

using Renames = std::vector<std::pair<const char*, const char*>>;  // regex, replacement; all are applied in order

inline std::string renamed(std::string name, const Renames& renames) {
  for (const auto& [from, to] : renames) name = std::regex_replace(name, std::regex(from), to);
  return name;
}

// As save_pretrained writes them.
inline std::string saved_name(const std::string& official) {
  return renamed(official, {{"^embed\\.", "model.embed_tokens."},
                            {"^norm\\.", "model.norm."},
                            {"^hc_head_", "model.hc_head.hc_"},
                            {"^layers\\.", "model.layers."},
                            {"attn\\.kv_norm\\.", "attn.norm."}});
}

// As the parameters are called in memory. Experts are renamed one by one; fusing them is up to the caller.
inline std::string memory_name(const std::string& official) {
  return renamed(official, {{"^embed\\.", "model.embed_tokens."},
                            {"^norm\\.", "model.norm."},
                            {"^head\\.", "lm_head."},
                            {"^hc_head_", "model.hc_head.hc_"},
                            {"^layers\\.", "model.layers."},
                            {"\\.attn_norm\\.", ".input_layernorm."},
                            {"\\.ffn_norm\\.", ".post_attention_layernorm."},
                            {"\\.hc_(attn|ffn)_", ".$1_hc."},
                            {"\\.attn\\.indexer\\.weights_proj", ".self_attn.compressor.indexer.scorer.weights_proj"},
                            {"\\.attn\\.indexer\\.compressor\\.", ".self_attn.compressor.indexer."},
                            {"\\.attn\\.indexer\\.", ".self_attn.compressor.indexer."},
                            {"\\.attn\\.", ".self_attn."},
                            {"\\.attn_sink$", ".sinks"},
                            {"\\.compressor\\.norm", ".compressor.kv_norm"},
                            {"\\.indexer\\.norm", ".indexer.kv_norm"},
                            {"\\.ape$", ".position_bias"},
                            {"(compressor|indexer)\\.wkv\\.", "$1.kv_proj."},
                            {"(compressor|indexer)\\.wgate\\.", "$1.gate_proj."},
                            {"\\.wq_a\\.", ".q_a_proj."},
                            {"\\.wq_b\\.", ".q_b_proj."},
                            {"\\.wkv\\.", ".kv_proj."},
                            {"\\.wo_a\\.", ".o_a_proj."},
                            {"\\.wo_b\\.", ".o_b_proj."},
                            {"\\.q_norm\\.", ".q_a_norm."},
                            {"\\.ffn\\.", ".mlp."},
                            {"\\.gate\\.bias$", ".gate.e_score_correction_bias"},
                            {"experts\\.(\\d+\\.)?w1\\.", "experts.$1gate_proj."},
                            {"experts\\.(\\d+\\.)?w2\\.", "experts.$1down_proj."},
                            {"experts\\.(\\d+\\.)?w3\\.", "experts.$1up_proj."}});
}

// config.json with the keys of transformers 5.
inline nlohmann::json transformers_config(nlohmann::json official) {
  nlohmann::json out = official;
  const int layers = official["num_hidden_layers"], hashed = official["num_hash_layers"];
  out["layer_types"] = nlohmann::json::array();
  out["mlp_layer_types"] = nlohmann::json::array();
  for (int i = 0; i < layers; ++i) {
    const int ratio = official["compress_ratios"][static_cast<size_t>(i)];
    out["layer_types"].push_back(ratio == 0   ? "sliding_attention"
                                 : ratio == 4 ? "compressed_sparse_attention"
                                              : "heavily_compressed_attention");
    out["mlp_layer_types"].push_back(i < hashed ? "hash_moe" : "moe");
  }
  out["compress_rates"] = {{"compressed_sparse_attention", 4}, {"heavily_compressed_attention", 128}};
  nlohmann::json compress = official["rope_scaling"];
  compress["rope_type"] = compress["type"];
  compress["rope_theta"] = official["compress_rope_theta"];
  out["rope_parameters"] = {{"main", {{"rope_theta", official["rope_theta"]}, {"rope_type", "default"}}},
                            {"compress", compress}};
  out["dtype"] = "float32";
  for (const char* key : {"compress_ratios", "num_hash_layers", "rope_scaling", "torch_dtype", "quantization_config",
                          "expert_dtype", "topk_method", "compress_rope_theta", "rope_theta"}) {
    out.erase(key);
  }
  return out;
}

}  // namespace v4rt
