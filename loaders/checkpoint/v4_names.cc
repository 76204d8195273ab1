#include "loaders/checkpoint/v4_names.h"

#include <fmt/format.h>

#include <array>
#include <span>
#include <unordered_map>

namespace v4rt {
namespace {

// Official name and the other spellings of the same tensor: one table for every kind of file. Names inside a block are
// written without "layers.N." or "mtp.N."; '*' is an expert's number.
struct Spelling {
  std::string_view official;
  std::array<std::string_view, 2> others;
};

constexpr Spelling kTopLevel[] = {
    {"embed.weight", {"embed_tokens.weight"}}, {"norm.weight", {}},
    {"head.weight", {"lm_head.weight"}},       {"hc_head_fn", {"hc_head.hc_fn"}},
    {"hc_head_base", {"hc_head.hc_base"}},     {"hc_head_scale", {"hc_head.hc_scale"}},
};

constexpr Spelling kInBlock[] = {
    {"attn_norm.weight", {"input_layernorm.weight"}},
    {"ffn_norm.weight", {"post_attention_layernorm.weight"}},
    {"hc_attn_fn", {"attn_hc.fn"}},
    {"hc_attn_base", {"attn_hc.base"}},
    {"hc_attn_scale", {"attn_hc.scale"}},
    {"hc_ffn_fn", {"ffn_hc.fn"}},
    {"hc_ffn_base", {"ffn_hc.base"}},
    {"hc_ffn_scale", {"ffn_hc.scale"}},
    {"attn.attn_sink", {"self_attn.sinks"}},
    {"attn.q_norm.weight", {"self_attn.q_a_norm.weight"}},
    {"attn.kv_norm.weight", {"attn.norm.weight", "self_attn.kv_norm.weight"}},
    {"attn.wq_a.weight", {"self_attn.q_a_proj.weight"}},
    {"attn.wq_b.weight", {"self_attn.q_b_proj.weight"}},
    {"attn.wkv.weight", {"self_attn.kv_proj.weight"}},
    {"attn.wo_a.weight", {"self_attn.o_a_proj.weight"}},
    {"attn.wo_b.weight", {"self_attn.o_b_proj.weight"}},
    {"attn.compressor.ape", {"self_attn.compressor.position_bias"}},
    {"attn.compressor.wkv.weight", {"self_attn.compressor.kv_proj.weight"}},
    {"attn.compressor.wgate.weight", {"self_attn.compressor.gate_proj.weight"}},
    {"attn.compressor.norm.weight", {"self_attn.compressor.kv_norm.weight"}},
    {"attn.indexer.wq_b.weight", {"self_attn.compressor.indexer.q_b_proj.weight"}},
    {"attn.indexer.weights_proj.weight",
     {"self_attn.compressor.indexer.scorer.weights_proj.weight", "self_attn.compressor.indexer.weights_proj.weight"}},
    {"attn.indexer.compressor.ape", {"self_attn.compressor.indexer.position_bias"}},
    {"attn.indexer.compressor.wkv.weight", {"self_attn.compressor.indexer.kv_proj.weight"}},
    {"attn.indexer.compressor.wgate.weight", {"self_attn.compressor.indexer.gate_proj.weight"}},
    {"attn.indexer.compressor.norm.weight", {"self_attn.compressor.indexer.kv_norm.weight"}},
    {"ffn.gate.weight", {"mlp.gate.weight"}},
    {"ffn.gate.bias", {"mlp.gate.e_score_correction_bias"}},
    {"ffn.gate.tid2eid", {"mlp.gate.tid2eid"}},
    {"ffn.experts.*.w1.weight", {"mlp.experts.*.gate_proj.weight"}},
    {"ffn.experts.*.w2.weight", {"mlp.experts.*.down_proj.weight"}},
    {"ffn.experts.*.w3.weight", {"mlp.experts.*.up_proj.weight"}},
    {"ffn.experts.w13.weight", {"mlp.experts.gate_up_proj"}},
    {"ffn.experts.w2.weight", {"mlp.experts.down_proj"}},
    {"ffn.shared_experts.w1.weight", {"mlp.shared_experts.gate_proj.weight"}},
    {"ffn.shared_experts.w2.weight", {"mlp.shared_experts.down_proj.weight"}},
    {"ffn.shared_experts.w3.weight", {"mlp.shared_experts.up_proj.weight"}},
    // Only in the MTP block.
    {"e_proj.weight", {}},
    {"h_proj.weight", {}},
    {"enorm.weight", {}},
    {"hnorm.weight", {}},
    {"norm.weight", {}},
    {"hc_head_fn", {}},
    {"hc_head_base", {}},
    {"hc_head_scale", {}},
};

using Dictionary = std::unordered_map<std::string_view, const Spelling*>;

Dictionary make_dictionary(std::span<const Spelling> table) {
  Dictionary dictionary;
  for (const Spelling& row : table) {
    dictionary.emplace(row.official, &row);
    for (std::string_view other : row.others) {
      if (!other.empty()) dictionary.emplace(other, &row);
    }
  }
  return dictionary;
}

const Dictionary& dictionary(bool in_block) {
  static const Dictionary top = make_dictionary(kTopLevel), block = make_dictionary(kInBlock);
  return in_block ? block : top;
}

// Digits up to the next dot, without a leading zero, so that no tensor has two names. Empty when there are none.
std::string_view leading_number(std::string_view text) {
  const size_t end = text.find_first_not_of("0123456789");
  if (end == 0 || end == std::string_view::npos || text[end] != '.' || end > 6 || (end > 1 && text[0] == '0'))
    return {};
  return text.substr(0, end);
}

// Splits a name inside a block from its expert's number: "ffn.experts.7.w1.weight" -> "ffn.experts.*.w1.weight", "7".
struct Leaf {
  std::string pattern;
  std::string_view expert;
};

Leaf split_expert(std::string_view leaf) {
  constexpr std::string_view kExperts = ".experts.";
  const size_t at = leaf.find(kExperts);
  if (at == std::string_view::npos) return {std::string(leaf), {}};
  const size_t begin = at + kExperts.size();
  const std::string_view number = leading_number(leaf.substr(begin));
  if (number.empty()) return {std::string(leaf), {}};
  return {fmt::format("{}*{}", leaf.substr(0, begin), leaf.substr(begin + number.size())), number};
}

struct Match {
  const Spelling* row;
  bool is_scale, official;
};

std::optional<Match> match_scale(const Dictionary& names, std::string_view pattern) {
  for (std::string_view suffix : {".scale", ".weight_scale_inv", "_scale_inv"}) {
    if (!pattern.ends_with(suffix)) continue;
    const std::string base(pattern.substr(0, pattern.size() - suffix.size()));
    for (const std::string& name : {base + ".weight", base}) {
      const auto found = names.find(name);
      if (found == names.end() || !found->second->official.ends_with(".weight")) continue;
      return Match{found->second, true, suffix == ".scale" && name == found->second->official};
    }
  }
  return std::nullopt;
}

// Names of values are tried first: "attn_hc.scale" is not a scale plane.
std::optional<Match> match(bool in_block, std::string_view pattern) {
  const Dictionary& names = dictionary(in_block);
  const auto found = names.find(pattern);
  if (found != names.end()) return Match{found->second, false, pattern == found->second->official};
  return match_scale(names, pattern);
}

// Fills the list of one block.
class BlockWeights {
 public:
  BlockWeights(const V4Config& config, std::string prefix, int ratio, bool hashed, std::vector<WeightInfo>& out)
      : c_(config), prefix_(std::move(prefix)), ratio_(ratio), hashed_(hashed), out_(out) {}

  void attention() {
    const int64_t d = c_.hidden_size, all_heads = int64_t{c_.num_heads} * c_.head_dim;
    const int64_t groups = int64_t{c_.o_groups} * c_.o_lora_rank;
    hyper("attn");
    add("attn_norm.weight", {d}, WeightRole::kNorm);
    add("attn.wq_a.weight", {c_.q_lora_rank, d});
    add("attn.q_norm.weight", {c_.q_lora_rank}, WeightRole::kNorm);
    add("attn.wq_b.weight", {all_heads, c_.q_lora_rank});
    add("attn.wkv.weight", {c_.head_dim, d});
    add("attn.kv_norm.weight", {c_.head_dim}, WeightRole::kNorm);
    add("attn.attn_sink", {c_.num_heads}, WeightRole::kF32);
    if (ratio_ != 0) compressor("attn.compressor.", c_.head_dim);
    if (ratio_ == 4) indexer();
    add("attn.wo_a.weight", {groups, all_heads / c_.o_groups});
    add("attn.wo_b.weight", {d, groups});
  }

  void experts() {
    const int64_t d = c_.hidden_size, wide = c_.moe_intermediate_size, n = c_.num_experts;
    hyper("ffn");
    add("ffn_norm.weight", {d}, WeightRole::kNorm);
    add("ffn.gate.weight", {n, d});
    if (hashed_) add("ffn.gate.tid2eid", {c_.vocab_size, c_.num_experts_per_token}, WeightRole::kTable);
    if (!hashed_) add("ffn.gate.bias", {n}, WeightRole::kF32);
    add("ffn.experts.w1.weight", {n, wide, d}, WeightRole::kMatrix, Assembly::kExperts);
    add("ffn.experts.w2.weight", {n, d, wide}, WeightRole::kMatrix, Assembly::kExperts);
    add("ffn.experts.w3.weight", {n, wide, d}, WeightRole::kMatrix, Assembly::kExperts);
    add("ffn.shared_experts.w13.weight", {2 * wide, d}, WeightRole::kMatrix, Assembly::kPair);
    add("ffn.shared_experts.w2.weight", {d, wide});
  }

  void add(std::string_view name, Shape shape, WeightRole role = WeightRole::kMatrix,
           Assembly assembly = Assembly::kWhole) {
    out_.push_back({prefix_ + std::string(name), shape, role, assembly});
  }

  // fn mixes m streams of width d into 2m + m*m numbers (pre, post, comb) or, for the head, into m.
  void head_hyper() {
    const int64_t m = c_.hc_mult;
    add("hc_head_fn", {m, m * c_.hidden_size}, WeightRole::kF32);
    add("hc_head_base", {m}, WeightRole::kF32);
    add("hc_head_scale", {1}, WeightRole::kF32);
  }

 private:
  void hyper(std::string_view part) {
    const int64_t m = c_.hc_mult, mixes = 2 * m + m * m;
    add(fmt::format("hc_{}_fn", part), {mixes, m * c_.hidden_size}, WeightRole::kF32);
    add(fmt::format("hc_{}_base", part), {mixes}, WeightRole::kF32);
    add(fmt::format("hc_{}_scale", part), {3}, WeightRole::kF32);
  }

  void compressor(const std::string& at, int64_t dim) {
    const int64_t width = (V4Config::overlaps(ratio_) ? 2 : 1) * dim;
    add(at + "wkv_gate.weight", {2 * width, c_.hidden_size}, WeightRole::kMatrix, Assembly::kPair);
    add(at + "ape", {ratio_, width}, WeightRole::kF32);
    add(at + "norm.weight", {dim}, WeightRole::kNorm);
  }

  void indexer() {
    add("attn.indexer.wq_b.weight", {int64_t{c_.index_n_heads} * c_.index_head_dim, c_.q_lora_rank});
    add("attn.indexer.weights_proj.weight", {c_.index_n_heads, c_.hidden_size});
    compressor("attn.indexer.compressor.", c_.index_head_dim);
  }

  const V4Config& c_;
  std::string prefix_;
  int ratio_;
  bool hashed_;
  std::vector<WeightInfo>& out_;
};

void add_mtp(const V4Config& c, std::vector<WeightInfo>& out) {
  BlockWeights block(c, "mtp.0.", c.layer_ratio(c.num_layers), false, out);
  const int64_t d = c.hidden_size;
  block.add("enorm.weight", {d}, WeightRole::kNorm);
  block.add("hnorm.weight", {d}, WeightRole::kNorm);
  block.add("e_proj.weight", {d, d});
  block.add("h_proj.weight", {d, d});
  block.attention();
  block.experts();
  block.head_hyper();
  block.add("norm.weight", {d}, WeightRole::kNorm);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  const size_t at = text.rfind(from);
  return fmt::format("{}{}{}", text.substr(0, at), to, text.substr(at + from.size()));
}

}  // namespace

std::vector<WeightInfo> v4_weights(const V4Config& config) {
  std::vector<WeightInfo> out;
  BlockWeights top(config, "", 0, false, out);
  top.add("embed.weight", {config.vocab_size, config.hidden_size}, WeightRole::kEmbedding);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    BlockWeights block(config, fmt::format("layers.{}.", layer), config.layer_ratio(layer),
                       layer < config.num_hash_layers, out);
    block.attention();
    block.experts();
  }
  top.head_hyper();
  top.add("norm.weight", {config.hidden_size}, WeightRole::kNorm);
  top.add("head.weight", {config.vocab_size, config.hidden_size});
  if (config.has_mtp) add_mtp(config, out);
  return out;
}

std::vector<std::string> official_parts(const WeightInfo& weight) {
  switch (weight.assembly) {
    case Assembly::kWhole: break;
    case Assembly::kPair: {
      const bool shared = weight.name.ends_with("w13.weight");
      const std::string_view fused = shared ? "w13" : "wkv_gate";
      return {replaced(weight.name, fused, shared ? "w1" : "wkv"),
              replaced(weight.name, fused, shared ? "w3" : "wgate")};
    }
    case Assembly::kExperts: {
      std::vector<std::string> names;
      for (int64_t e = 0; e < weight.shape[0]; ++e)
        names.push_back(replaced(weight.name, ".experts.", fmt::format(".experts.{}.", e)));
      return names;
    }
  }
  return {weight.name};
}

FusedExperts fused_experts(const WeightInfo& stack) {
  if (stack.name.ends_with("w2.weight")) return {stack.name};
  const bool up = stack.name.ends_with("w3.weight");
  return {replaced(stack.name, up ? "w3" : "w1", "w13"), up ? 1 : 0, 2};
}

std::optional<FileName> translate(std::string_view name) {
  const bool prefixed = name.starts_with("model.");
  if (prefixed) name.remove_prefix(6);
  std::string_view block;
  for (std::string_view kind : {"layers.", "mtp."}) {
    if (!name.starts_with(kind)) continue;
    const std::string_view number = leading_number(name.substr(kind.size()));
    if (number.empty()) return std::nullopt;
    block = name.substr(0, kind.size() + number.size() + 1);
    name.remove_prefix(block.size());
    break;
  }
  const Leaf leaf = split_expert(name);
  const auto found = match(!block.empty(), leaf.pattern);
  if (!found) return std::nullopt;
  std::string official(found->row->official);
  if (!leaf.expert.empty()) official = replaced(official, "*", leaf.expert);
  return FileName{fmt::format("{}{}", block, official), found->is_scale, found->official && !prefixed};
}

}  // namespace v4rt
