#include "loaders/checkpoint/v4_config.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <filesystem>

#include "loaders/checkpoint/v4_config_rope.h"
#include "loaders/files/file_source.h"
#include "loaders/files/json_fields.h"
#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

[[noreturn]] void refuse_v41(const Fields& f, std::string_view fact) {
  fail(Code::kUnsupported,
       "{}: {}: this is DeepSeek-V4.1 or later (compress ratios 0/1/2, FP8 blocks of 32 x 32, n-gram memory), whose "
       "layers differ; "
       "use a DeepSeek-V4-Flash or V4-Pro checkpoint",
       f.source(), fact);
}

void check_model_type(const Fields& f) {
  const Json& type = f.require("model_type");
  if (type == "deepseek_v4") return;
  if (type.is_string() && type.string().starts_with("deepseek_v4"))
    refuse_v41(f, fmt::format("'model_type' is {}", shown(type)));
  fail(Code::kUnsupported, "{}: 'model_type' is {}; only \"deepseek_v4\" checkpoints can be run", f.source(),
       shown(type));
}

bool says_something(const Json& value) {
  return !(value.is_null() || value == false || value == 0 || value == Json::Array() || value == Json::Object());
}

void check_revision(const Fields& f, const Json& object) {
  for (const auto& [key, value] : object.object()) {
    std::string lower = key;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const bool memory = lower.find("ngram") != std::string::npos || lower.find("engram") != std::string::npos;
    if (!memory) continue;
    if (says_something(value)) refuse_v41(f, fmt::format("'{}' is present", printable(key)));
    f.ignore({key});
  }
}

void check_method(const Fields& q, std::string_view key, std::string_view readable) {
  const Json* method = q.find(key);
  check(method == nullptr || *method == Json(readable), Code::kUnsupported,
        "{}: '{}' is {}: v4rt does not decode weights of that method, but the release's own FP8 and FP4, BF16, F16 and "
        "F32; fetch the release, or have the method's tool write the weights dequantised, without its settings",
        q.source(), key, method == nullptr ? std::string() : shown(*method));
}

// The tensors themselves show how weights are stored, but not what activations are rounded to.
void check_quantisation(const Fields& f) {
  if (f.find("quantization_config") == nullptr) return;
  const Fields q = f.child("quantization_config");
  check_method(q, "quant_method", "fp8");
  const Json* block = q.find("weight_block_size");
  if (block != nullptr && *block == Json::Array{32, 32}) refuse_v41(q, "'weight_block_size' is [32,32]");
  q.expect("weight_block_size", Json::Array{128, 128});
  q.expect("fmt", "e4m3");
  q.expect("scale_fmt", "ue8m0");
  q.expect("activation_scheme", "dynamic");
  q.ignore({"modules_to_not_convert", "dequantize", "expert_dtype"});
  q.check_all_known();
}

void check_fixed(const Fields& f) {
  f.expect("num_key_value_heads", 1);
  f.expect("n_shared_experts", 1);
  f.expect("scoring_func", "sqrtsoftplus");
  f.expect("topk_method", "noaux_tc");
  f.expect("norm_topk_prob", true);
  f.expect("hidden_act", "silu");
  f.expect("attention_bias", false);
  f.expect("mlp_bias", false);
  f.expect("tie_word_embeddings", false);
  f.expect("is_encoder_decoder", false);
  f.expect("first_k_dense_replace", 0);
  f.expect("moe_layer_freq", 1);
  for (std::string_view key : {"n_group", "topk_group"}) {
    const Json* groups = f.find(key);
    check(groups == nullptr || *groups == 0 || *groups == 1, Code::kUnsupported,
          "{}: '{}' is {}; DeepSeek-V4 routes without expert groups", f.source(), key,
          groups == nullptr ? std::string() : shown(*groups));
  }
}

// Keys that do not affect results, or that the tensors show by themselves.
void ignore_what_changes_nothing(const Fields& f) {
  // Which program wrote the file, and for which of its classes.
  f.ignore({"architectures", "auto_map", "transformers_version", "tokenizer_class", "unsloth_fixed", "id2label",
            "label2id", "num_labels", "problem_type"});
  // How tensors are stored, and which are there.
  f.ignore({"torch_dtype", "dtype", "expert_dtype", "num_nextn_predict_layers"});
  // Training.
  f.ignore({"initializer_range", "attention_dropout", "router_jitter_noise", "router_aux_loss_coef", "aux_loss_alpha",
            "seq_aux", "pad_token_id"});
  // What other programs return, and on how many devices they run.
  f.ignore({"use_cache", "return_dict", "output_hidden_states", "output_attentions", "output_router_logits",
            "chunk_size_feed_forward", "ep_size", "pretraining_tp"});
}

// Other names of the same sizes; a file may have both.
void check_aliases(const Fields& f, const V4Config& c) {
  f.expect("num_local_experts", c.num_experts);
  f.expect("intermediate_size", c.moe_intermediate_size);
  f.expect("qk_head_dim", c.head_dim);
  f.expect("v_head_dim", c.head_dim);
  f.expect("qk_nope_head_dim", c.head_dim - c.rope_head_dim);
}

void read_sizes(const Fields& f, V4Config& c) {
  c.vocab_size = f.integer("vocab_size", 1, 1 << 24);
  c.hidden_size = f.size("hidden_size", 1 << 16);
  c.num_layers = f.size("num_hidden_layers", 1024);
  c.num_heads = f.size("num_attention_heads", 4096);
  c.head_dim = f.size("head_dim", 4096);
  c.rope_head_dim = f.size("qk_rope_head_dim", 4096);
  c.q_lora_rank = f.size("q_lora_rank", 1 << 16);
  c.o_lora_rank = f.size("o_lora_rank", 1 << 16);
  c.o_groups = f.size("o_groups", 4096);
  c.sliding_window = f.size("sliding_window", 1 << 16);
  c.num_experts = f.size("n_routed_experts", 4096);
  c.num_experts_per_token = f.size("num_experts_per_tok", 256);
  c.moe_intermediate_size = f.size("moe_intermediate_size", 1 << 16);
  c.hc_mult = static_cast<int>(f.integer("hc_mult", 1, 16, 4));
  c.hc_sinkhorn_iters = static_cast<int>(f.integer("hc_sinkhorn_iters", 1, 1000, 20));
  c.max_position =
      f.integer("max_position_embeddings", 1, int64_t{1} << 21);  // em_cos and em_sin take angles up to 2^21
}

void read_numbers(const Fields& f, V4Config& c) {
  constexpr double kTiny = 1e-30;
  c.hc_eps = f.number("hc_eps", kTiny, 1.0, 1e-6);
  c.rms_norm_eps = f.number("rms_norm_eps", kTiny, 1.0, 1e-6);
  c.routed_scaling_factor = f.number("routed_scaling_factor", kTiny, 1e6);
  c.swiglu_limit = f.number("swiglu_limit", 0, 1e6);
}

void check_ratio(const Fields& f, int64_t ratio, size_t layer) {
  if (ratio == 1 || ratio == 2) refuse_v41(f, fmt::format("layer {} has compress ratio {}", layer, ratio));
  check(ratio == 0 || ratio == 4 || ratio == 128, Code::kUnsupported,
        "{}: layer {} has compress ratio {}; only 0, 4 and 128 are supported", f.source(), layer, ratio);
}

std::vector<int> official_ratios(const Fields& f, const V4Config& c) {
  const Json& list = f.require("compress_ratios");
  check(list.is_array() && list.array().size() >= static_cast<size_t>(c.num_layers), Code::kCorrupt,
        "{}: 'compress_ratios' must be an array of at least num_hidden_layers = {} entries", f.source(), c.num_layers);
  std::vector<int> ratios;
  for (size_t i = 0; i < std::min(list.array().size(), static_cast<size_t>(c.num_layers) + 1); ++i) {
    const Json& ratio = list.array()[i];
    check(ratio.is_integer(), Code::kCorrupt, "{}: 'compress_ratios'[{}] is {}; expected an integer", f.source(), i,
          shown(ratio));
    const bool fits = !ratio.is_unsigned() || ratio.number<uint64_t>() < 1u << 30;
    check_ratio(f, fits ? ratio.number<int64_t>() : 1 << 30, i);
    ratios.push_back(ratio.number<int>());
  }
  return ratios;
}

const Json::Array& layer_list(const Fields& f, std::string_view key, const V4Config& c) {
  const Json& list = f.require(key);
  const bool ok = list.is_array() && list.array().size() == static_cast<size_t>(c.num_layers) &&
                  std::ranges::all_of(list.array(), &Json::is_string);
  check(ok, Code::kCorrupt, "{}: '{}' must be an array of num_hidden_layers = {} names", f.source(), key, c.num_layers);
  return list.array();
}

// Each kind of layer in transformers has a fixed ratio; a file may state it, but not change it.
struct LayerKind {
  const char *name, *old_key;
  int ratio;
};
constexpr LayerKind kCompressedKinds[] = {{"compressed_sparse_attention", "compress_rate_csa", 4},
                                          {"heavily_compressed_attention", "compress_rate_hca", 128}};

void check_rates(const Fields& f) {
  for (const LayerKind& kind : kCompressedKinds) f.expect(kind.old_key, kind.ratio);
  if (f.find("compress_rates") == nullptr) return;
  const Fields rates = f.child("compress_rates");
  for (const LayerKind& kind : kCompressedKinds) {
    const Json* rate = rates.find(kind.name);
    for (const int of_v41 : {1, 2}) {
      if (rate != nullptr && *rate == of_v41) refuse_v41(rates, fmt::format("'{}' is {}", kind.name, shown(*rate)));
    }
    rates.expect(kind.name, kind.ratio);
  }
  rates.check_all_known();
}

std::vector<int> transformers_ratios(const Fields& f, const V4Config& c) {
  std::vector<int> ratios;
  for (const Json& name : layer_list(f, "layer_types", c)) {
    const auto kind = std::find_if(std::begin(kCompressedKinds), std::end(kCompressedKinds),
                                   [&](const LayerKind& k) { return name == k.name; });
    const bool compressed = kind != std::end(kCompressedKinds);
    check(compressed || name == "sliding_attention", Code::kUnsupported,
          "{}: 'layer_types' names {}; known are sliding_attention, compressed_sparse_attention and "
          "heavily_compressed_attention",
          f.source(), shown(name));
    ratios.push_back(compressed ? kind->ratio : 0);
  }
  return ratios;
}

// One entry per layer and one for the MTP block, which is a sliding-window layer unless the file says otherwise.
void read_ratios(const Fields& f, V4Config& c) {
  const auto layers = static_cast<size_t>(c.num_layers);
  const bool official = f.find("compress_ratios") != nullptr, transformers = f.find("layer_types") != nullptr;
  check(official || transformers, Code::kCorrupt,
        "{}: neither 'compress_ratios' nor 'layer_types' says how each layer attends", f.source());
  check_rates(f);
  c.compress_ratios = official ? official_ratios(f, c) : transformers_ratios(f, c);
  if (official && transformers) {
    const std::vector<int> other = transformers_ratios(f, c);
    check(std::equal(other.begin(), other.end(), c.compress_ratios.begin()), Code::kCorrupt,
          "{}: 'compress_ratios' and 'layer_types' contradict each other; remove the wrong one", f.source());
  }
  c.compress_ratios.resize(layers + 1, 0);
}

int listed_hash_layers(const Fields& f, const V4Config& c) {
  int count = 0;
  bool hashed = true;
  for (const Json& kind : layer_list(f, "mlp_layer_types", c)) {
    check(kind == "hash_moe" || kind == "moe", Code::kUnsupported,
          "{}: 'mlp_layer_types' names {}; known are hash_moe and moe", f.source(), shown(kind));
    check(hashed || kind == "moe", Code::kUnsupported,
          "{}: 'mlp_layer_types' has a hash_moe layer after a moe layer; hash layers come first", f.source());
    hashed = kind == "hash_moe";
    count += hashed ? 1 : 0;
  }
  return count;
}

void read_hash_layers(const Fields& f, V4Config& c) {
  const bool listed = f.find("mlp_layer_types") != nullptr;
  if (listed) c.num_hash_layers = listed_hash_layers(f, c);
  if (listed && f.find("num_hash_layers") == nullptr) return;
  const auto stated = static_cast<int>(f.integer("num_hash_layers", 0, c.num_layers));
  check(!listed || stated == c.num_hash_layers, Code::kCorrupt,
        "{}: 'num_hash_layers' is {}, but 'mlp_layer_types' has {} of them; remove the wrong one", f.source(), stated,
        c.num_hash_layers);
  c.num_hash_layers = stated;
}

void read_indexer(const Fields& f, V4Config& c) {
  const auto layers = c.compress_ratios.begin() + c.num_layers;
  if (std::find(c.compress_ratios.begin(), layers, 4) == layers)
    return f.ignore({"index_n_heads", "index_head_dim", "index_topk"});
  c.index_n_heads = f.size("index_n_heads", 4096);
  c.index_head_dim = f.size("index_head_dim", 4096);
  c.index_topk = f.size("index_topk", 1 << 20);
  check(std::has_single_bit(static_cast<unsigned>(c.index_head_dim)), Code::kUnsupported,
        "{}: 'index_head_dim' is {}; its Hadamard transform needs a power of two", f.source(), c.index_head_dim);
  check(c.rope_head_dim <= c.index_head_dim, Code::kCorrupt, "{}: 'qk_rope_head_dim' {} exceeds 'index_head_dim' {}",
        f.source(), c.rope_head_dim, c.index_head_dim);
}

void check_relations(const Fields& f, const V4Config& c) {
  check(c.num_heads % c.o_groups == 0, Code::kCorrupt,
        "{}: 'num_attention_heads' {} is not a multiple of 'o_groups' {}", f.source(), c.num_heads, c.o_groups);
  check(c.rope_head_dim % 2 == 0 && c.rope_head_dim <= c.head_dim, Code::kCorrupt,
        "{}: 'qk_rope_head_dim' {} must be even and at most 'head_dim' {}", f.source(), c.rope_head_dim, c.head_dim);
  check(c.num_experts_per_token <= c.num_experts, Code::kCorrupt,
        "{}: 'num_experts_per_tok' {} exceeds 'n_routed_experts' {}", f.source(), c.num_experts_per_token,
        c.num_experts);
}

// NVIDIA's ModelOpt writes how it quantised the weights to a separate file.
constexpr std::string_view kQuantisedApart = "hf_quant_config.json";
void check_quantised_apart(const FileSource& files) {
  if (!files.has(kQuantisedApart)) return;
  const Json object = parse_json(text_of(*files.open(kQuantisedApart)), files.path(kQuantisedApart));
  const Fields f(object, files.path(kQuantisedApart));
  if (f.find("quantization") != nullptr) check_method(f.child("quantization"), "quant_algo", "");
}

}  // namespace

V4Config parse_v4_config(std::string_view text, std::string_view source) {
  const Json object = parse_json(text, source);
  const Fields f(object, std::string(source));
  check_model_type(f);
  check_quantisation(f);
  check_revision(f, object);
  check_fixed(f);
  V4Config c;
  read_sizes(f, c);
  read_numbers(f, c);
  read_ratios(f, c);
  read_hash_layers(f, c);
  read_rope(f, c);
  read_indexer(f, c);
  check_relations(f, c);
  check_aliases(f, c);
  // In the official code 0 means "no clamp", while transformers clamps to 0: for a file in its layout the two would
  // disagree.
  const bool transformers_layout = f.find("compress_ratios") == nullptr;
  check(!transformers_layout || c.swiglu_limit > 0, Code::kUnsupported,
        "{}: 'swiglu_limit' is 0, which transformers takes as \"clamp to 0\" and the release as \"no clamp\"; set the "
        "limit the model was trained with",
        source);
  if (f.find("bos_token_id") != nullptr)
    c.bos_token_id = static_cast<int32_t>(f.integer("bos_token_id", 0, c.vocab_size - 1));
  c.eos_token_ids = f.token_ids("eos_token_id", c.vocab_size);
  ignore_what_changes_nothing(f);
  f.check_all_known();
  return c;
}

namespace {

V4Config read_v4_config(const FileSource& files, std::string_view name) {
  check_quantised_apart(files);
  return parse_v4_config(text_of(*files.open(name), size_t{16} << 20), files.path(name));
}

}  // namespace

V4Config read_v4_config(const std::string& path) {
  const std::filesystem::path file(path);
  return read_v4_config(*folder_source(file.parent_path().string(), FileAccess::kMap), file.filename().string());
}

V4Config read_v4_config(const FileSource& files) { return read_v4_config(files, "config.json"); }

}  // namespace v4rt
