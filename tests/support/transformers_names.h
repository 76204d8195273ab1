#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace v4rt {

// How transformers spells the official names and keys, independent of the loader's table.

// Replacements, applied in order. '^' stands for the beginning of the name and '$' for its end.
using Renames = std::vector<std::pair<std::string, std::string>>;

inline std::string renamed(std::string name, const Renames& renames) {
  name = "^" + name + "$";
  for (const auto& [from, to] : renames) {
    const std::string ends = (from.front() == '^' ? "^" : "") + to + (from.back() == '$' ? "$" : "");
    for (size_t at = 0; (at = name.find(from, at)) != std::string::npos; at += ends.size())
      name.replace(at, from.size(), ends);
  }
  return name.substr(1, name.size() - 2);
}

// As save_pretrained writes them.
inline std::string saved_name(const std::string& official) {
  return renamed(official, {{"^embed.", "model.embed_tokens."},
                            {"^norm.", "model.norm."},
                            {"^hc_head_", "model.hc_head.hc_"},
                            {"^layers.", "model.layers."},
                            {"attn.kv_norm.", "attn.norm."}});
}

// As the parameters are called in memory. Experts are renamed one by one; fusing them is up to the caller.
inline std::string memory_name(const std::string& official) {
  return renamed(official, {{"^embed.", "model.embed_tokens."},
                            {"^norm.", "model.norm."},
                            {"^head.", "lm_head."},
                            {"^hc_head_", "model.hc_head.hc_"},
                            {"^layers.", "model.layers."},
                            {".attn_norm.", ".input_layernorm."},
                            {".ffn_norm.", ".post_attention_layernorm."},
                            {".hc_attn_", ".attn_hc."},
                            {".hc_ffn_", ".ffn_hc."},
                            {".attn.indexer.weights_proj", ".self_attn.compressor.indexer.scorer.weights_proj"},
                            {".attn.indexer.compressor.", ".self_attn.compressor.indexer."},
                            {".attn.indexer.", ".self_attn.compressor.indexer."},
                            {".attn.", ".self_attn."},
                            {".attn_sink$", ".sinks"},
                            {".compressor.norm", ".compressor.kv_norm"},
                            {".indexer.norm", ".indexer.kv_norm"},
                            {".ape$", ".position_bias"},
                            {".wgate.", ".gate_proj."},
                            {".wq_a.", ".q_a_proj."},
                            {".wq_b.", ".q_b_proj."},
                            {".wkv.", ".kv_proj."},
                            {".wo_a.", ".o_a_proj."},
                            {".wo_b.", ".o_b_proj."},
                            {".q_norm.", ".q_a_norm."},
                            {".ffn.", ".mlp."},
                            {".gate.bias$", ".gate.e_score_correction_bias"},
                            {".w1.", ".gate_proj."},
                            {".w2.", ".down_proj."},
                            {".w3.", ".up_proj."}});
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
