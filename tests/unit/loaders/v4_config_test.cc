#include "loaders/checkpoint/v4_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "loaders/files/json_file.h"
#include "ops/core/error.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/transformers_names.h"

namespace v4rt {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kTinyFlash = std::string(V4RT_SOURCE_DIR) + "/tests/data/tiny-flash/config.json";

json tiny_json() { return json::parse(read_text_file(kTinyFlash)); }
V4Config parse(const json& config) { return parse_v4_config(config.dump(), "config.json"); }

std::string message_of(const std::string& text) {
  try {
    parse_v4_config(text, "config.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

// The message after changing some keys; null removes a key.
std::string refused(const json& patch, json config = tiny_json()) {
  config.merge_patch(patch);
  return message_of(config.dump());
}

void expect_same(const V4Config& a, const V4Config& b) {
  EXPECT_EQ(a.vocab_size, b.vocab_size);
  EXPECT_EQ(a.hidden_size, b.hidden_size);
  EXPECT_EQ(a.num_layers, b.num_layers);
  EXPECT_EQ(a.compress_ratios, b.compress_ratios);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.compress_rope_theta, b.compress_rope_theta);
  EXPECT_EQ(a.rope_factor, b.rope_factor);
  EXPECT_EQ(a.rope_original_context, b.rope_original_context);
  EXPECT_EQ(a.rope_beta_fast, b.rope_beta_fast);
  EXPECT_EQ(a.rope_beta_slow, b.rope_beta_slow);
  EXPECT_EQ(a.index_topk, b.index_topk);
  EXPECT_EQ(a.num_experts, b.num_experts);
  EXPECT_EQ(a.num_hash_layers, b.num_hash_layers);
  EXPECT_EQ(a.routed_scaling_factor, b.routed_scaling_factor);
  EXPECT_EQ(a.swiglu_limit, b.swiglu_limit);
  EXPECT_EQ(a.max_position, b.max_position);
}

TEST(V4Config, ReadsTheOfficialKeys) {
  const V4Config c = read_v4_config(kTinyFlash);
  EXPECT_EQ(c.vocab_size, 512);
  EXPECT_EQ(c.hidden_size, 128);
  EXPECT_EQ(c.num_layers, 5);
  EXPECT_EQ(c.num_heads, 4);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.rope_head_dim, 64);
  EXPECT_EQ(c.q_lora_rank, 128);
  EXPECT_EQ(c.o_lora_rank, 64);
  EXPECT_EQ(c.o_groups, 2);
  EXPECT_EQ(c.sliding_window, 32);
  EXPECT_EQ(c.compress_ratios, (std::vector<int>{0, 0, 4, 128, 4, 0}));
  EXPECT_EQ(c.rope_theta, 10000);
  EXPECT_EQ(c.compress_rope_theta, 160000);
  EXPECT_EQ(c.rope_factor, 16);
  EXPECT_EQ(c.rope_original_context, 65536);
  EXPECT_EQ(c.rope_beta_fast, 32);
  EXPECT_EQ(c.rope_beta_slow, 1);
  EXPECT_EQ(c.max_position, 1048576);
  EXPECT_EQ(c.index_n_heads, 4);
  EXPECT_EQ(c.index_head_dim, 64);
  EXPECT_EQ(c.index_topk, 16);
  EXPECT_EQ(c.num_experts, 8);
  EXPECT_EQ(c.num_experts_per_token, 2);
  EXPECT_EQ(c.moe_intermediate_size, 128);
  EXPECT_EQ(c.num_hash_layers, 2);
  EXPECT_EQ(c.routed_scaling_factor, 1.5);
  EXPECT_EQ(c.swiglu_limit, 10);
  EXPECT_EQ(c.hc_mult, 4);
  EXPECT_EQ(c.hc_sinkhorn_iters, 20);
  EXPECT_EQ(c.hc_eps, 1e-6);
  EXPECT_EQ(c.rms_norm_eps, 1e-6);
  EXPECT_EQ(c.bos_token_id, 0);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(1));
  EXPECT_FALSE(c.has_mtp) << "only tensors tell";
}

TEST(V4Config, ReadsTheTransformersKeys) {
  expect_same(parse(transformers_config(tiny_json())), parse(tiny_json()));
  json both = transformers_config(tiny_json());
  both["compress_ratios"] = tiny_json()["compress_ratios"];
  expect_same(parse(both), parse(tiny_json()));
  both["compress_ratios"][1] = 4;
  EXPECT_THAT(message_of(both.dump()), HasSubstr("contradict each other"));
}

TEST(V4Config, ReadsEveryEndToken) {
  json config = tiny_json();
  config["eos_token_id"] = json::array({7, 9, 7});
  EXPECT_THAT(parse(config).eos_token_ids, ElementsAre(7, 9));
  config.erase("eos_token_id");
  EXPECT_THAT(parse(config).eos_token_ids, IsEmpty());
}

TEST(V4Config, ReadsWhatTransformersWrote) {
  const std::string path = std::string(V4RT_SOURCE_DIR) + "/../shared/models/tiny-flash-transformers/config.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "the file is not at hand";
  expect_same(read_v4_config(path), parse(tiny_json()));
}

TEST(V4Config, TransformersLayoutHasItsOwnTraps) {
  const json config = transformers_config(tiny_json());
  EXPECT_THAT(refused({{"swiglu_limit", 0}}, config), HasSubstr("clamp to 0"));
  EXPECT_THAT(refused({{"layer_types", nullptr}}, config), HasSubstr("neither 'compress_ratios' nor 'layer_types'"));
  EXPECT_THAT(refused({{"layer_types", {"sliding_attention"}}}, config), HasSubstr("num_hidden_layers = 5 names"));
  json other = config;
  other["layer_types"][0] = "full_attention";
  EXPECT_THAT(message_of(other.dump()), HasSubstr("names \"full_attention\""));
  EXPECT_THAT(refused({{"compress_rates", {{"compressed_sparse_attention", 2}}}}, config), HasSubstr("DeepSeek-V4.1"));
  other = config;
  other["mlp_layer_types"] = {"moe", "hash_moe", "moe", "moe", "moe"};
  EXPECT_THAT(message_of(other.dump()), HasSubstr("hash layers come first"));
  other["mlp_layer_types"][0] = "dense";
  EXPECT_THAT(message_of(other.dump()), HasSubstr("names \"dense\""));
}

TEST(V4Config, LimitOfZeroIsOfficialForNoClamp) {
  json config = tiny_json();
  config["swiglu_limit"] = 0;
  EXPECT_EQ(parse(config).swiglu_limit, 0);
}

TEST(V4Config, RatiosMayBeLongerThanTheLayers) {
  json config = tiny_json();
  config["compress_ratios"] = {0, 0, 4, 128, 4};
  EXPECT_EQ(parse(config).compress_ratios, (std::vector<int>{0, 0, 4, 128, 4, 0}));
  config["compress_ratios"] = {0, 0, 4, 128, 4, 0, 0, 0};
  EXPECT_EQ(parse(config).compress_ratios.size(), 6u);
}

TEST(V4Config, IndexerKeysAreNeededByItsLayersOnly) {
  json config = tiny_json();
  config["compress_ratios"] = {0, 0, 128, 128, 0};
  for (const char* key : {"index_n_heads", "index_head_dim", "index_topk"}) config.erase(key);
  EXPECT_EQ(parse(config).index_topk, 0);
  EXPECT_THAT(refused({{"index_topk", nullptr}}), HasSubstr("'index_topk' is missing"));
}

TEST(V4Config, RefusesOtherModels) {
  EXPECT_THAT(refused({{"model_type", "deepseek_v3"}}), HasSubstr("only \"deepseek_v4\" checkpoints"));
  EXPECT_THAT(refused({{"model_type", nullptr}}), HasSubstr("'model_type' is missing"));
  EXPECT_THAT(refused({{"model_type", 4}}), HasSubstr("'model_type' is 4"));
  EXPECT_THAT(refused({{"scoring_func", "sigmoid"}}), HasSubstr("'scoring_func' is \"sigmoid\""));
  EXPECT_THAT(refused({{"tie_word_embeddings", true}}), HasSubstr("'tie_word_embeddings' is true"));
  EXPECT_THAT(refused({{"num_key_value_heads", 2}}), HasSubstr("'num_key_value_heads' is 2"));
  EXPECT_THAT(refused({{"n_shared_experts", 2}}), HasSubstr("'n_shared_experts' is 2"));
  EXPECT_THAT(refused({{"n_group", 8}}), HasSubstr("without expert groups"));
  EXPECT_THAT(refused({{"rope_scaling", {{"type", "linear"}}}}), HasSubstr("only yarn"));
}

TEST(V4Config, RecognisesV41) {
  for (const json& patch : {json{{"model_type", "deepseek_v4_1"}}, json{{"compress_ratios", {0, 1, 2, 2, 1, 0}}},
                            json{{"quantization_config", {{"weight_block_size", {32, 32}}}}},
                            json{{"ngram_memory_layers", {1, 3}}}, json{{"engram_config", {{"orders", 2}}}}}) {
    EXPECT_THAT(refused(patch), AllOf(HasSubstr("DeepSeek-V4.1"), HasSubstr("use a DeepSeek-V4-Flash"))) << patch;
  }
  EXPECT_THAT(refused({{"quantization_config", {{"weight_block_size", {64, 64}}}}}),
              HasSubstr("'weight_block_size' is [64,64]"));
  json config = tiny_json();
  config["engram_config"] = nullptr;
  config["num_ngram_layers"] = 0;
  EXPECT_NO_THROW(parse(config));
}

TEST(V4Config, RefusesValuesThatCannotBe) {
  for (const char* key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim", "qk_rope_head_dim",
        "q_lora_rank", "o_lora_rank", "o_groups", "sliding_window", "n_routed_experts", "num_experts_per_tok",
        "moe_intermediate_size", "max_position_embeddings", "index_n_heads", "index_head_dim", "index_topk"}) {
    for (const json& value :
         {json(0), json(-1), json(int64_t{1} << 40), json(~uint64_t{0}), json(1.5), json("128"), json::array()}) {
      EXPECT_THAT(refused({{key, value}}), HasSubstr("'" + std::string(key) + "' is ")) << value;
    }
    EXPECT_THAT(refused({{key, nullptr}}), HasSubstr("'" + std::string(key) + "' is missing"));
  }
  EXPECT_THAT(refused({{"num_hash_layers", 6}}), HasSubstr("'num_hash_layers' is 6; expected an integer from 0 to 5"));
  EXPECT_THAT(refused({{"hc_eps", 0}}), HasSubstr("'hc_eps' is 0"));
  EXPECT_THAT(refused({{"routed_scaling_factor", -1.5}}), HasSubstr("'routed_scaling_factor' is -1.5"));
  EXPECT_THAT(refused({{"swiglu_limit", -1}}), HasSubstr("'swiglu_limit' is -1"));
  EXPECT_THAT(refused({{"rope_theta", 1}}), HasSubstr("'rope_theta' is 1"));
  EXPECT_THAT(refused({{"rope_scaling", {{"beta_fast", 0.5}}}}),
              HasSubstr("beta_slow (1) must be less than beta_fast (0.5)"));
  EXPECT_THAT(refused({{"rope_scaling", 5}}), HasSubstr("'rope_scaling': is not a JSON object"));
  EXPECT_THAT(refused({{"eos_token_id", 512}}),
              HasSubstr("'eos_token_id' is 512; expected token ids below vocab_size = 512"));
  EXPECT_THAT(refused({{"eos_token_id", json::array({7, 512})}}), HasSubstr("'eos_token_id' is [7,512]"));
  EXPECT_THAT(refused({{"eos_token_id", json::array()}}), HasSubstr("'eos_token_id' is []"));
  EXPECT_THAT(refused({{"bos_token_id", json::array({7, 9})}}), HasSubstr("'bos_token_id' is [7,9]"));
}

TEST(V4Config, RefusesValuesThatDoNotAgree) {
  EXPECT_THAT(refused({{"o_groups", 3}}), HasSubstr("'num_attention_heads' 4 is not a multiple of 'o_groups' 3"));
  EXPECT_THAT(refused({{"qk_rope_head_dim", 63}}), HasSubstr("must be even and at most 'head_dim' 128"));
  EXPECT_THAT(refused({{"qk_rope_head_dim", 256}}), HasSubstr("'qk_rope_head_dim' 256"));
  EXPECT_THAT(refused({{"index_head_dim", 96}}), HasSubstr("needs a power of two"));
  EXPECT_THAT(refused({{"index_head_dim", 32}}), HasSubstr("'qk_rope_head_dim' 64 exceeds 'index_head_dim' 32"));
  EXPECT_THAT(refused({{"num_experts_per_tok", 9}}), HasSubstr("exceeds 'n_routed_experts' 8"));
  EXPECT_THAT(refused({{"compress_ratios", {0, 0, 4, 128}}}), HasSubstr("at least num_hidden_layers = 5 entries"));
  EXPECT_THAT(refused({{"compress_ratios", {0, 0, 8, 128, 4}}}), HasSubstr("layer 2 has compress ratio 8"));
  EXPECT_THAT(refused({{"compress_ratios", {0, 0, ~uint64_t{0}, 128, 4}}}), HasSubstr("layer 2 has compress ratio"));
  EXPECT_THAT(refused({{"compress_ratios", {0, 0, "4", 128, 4}}}), HasSubstr("'compress_ratios'[2] is \"4\""));
}

// A key is applied, must have the value that the model uses anyway, or is refused by name.
TEST(V4Config, RefusesKeysThatItDoesNotApply) {
  const auto refused_key = [](const json& patch, const std::string& key, const json& config) {
    EXPECT_THAT(refused(patch, config), HasSubstr("'" + key + "' is ")) << patch;
  };
  const json released = tiny_json(), saved = transformers_config(tiny_json());
  const auto in_compress = [](const json& patch) { return json{{"rope_parameters", {{"compress", patch}}}}; };
  for (const auto& [key, value] : std::vector<std::pair<std::string, json>>{{"attention_factor", 2.0},
                                                                            {"mscale", 1.0},
                                                                            {"mscale_all_dim", 1.0},
                                                                            {"truncate", false},
                                                                            {"partial_rotary_factor", 0.25},
                                                                            {"short_factor", {1.0, 2.0}},
                                                                            {"finetuned", true},
                                                                            {"rope_thetas", 1e4}}) {
    refused_key({{"rope_scaling", {{key, value}}}}, key, released);
    refused_key(in_compress({{key, value}}), key, saved);
    if (key != "truncate") refused_key({{"rope_parameters", {{"main", {{key, value}}}}}}, key, saved);
  }
  refused_key({{"rope_parameters", {{"other", {{"rope_theta", 1e4}}}}}}, "other", saved);
  refused_key({{"partial_rotary_factor", 0.25}}, "partial_rotary_factor", released);
  for (const char* key : {"attn_temperature", "logit_softcap", "per_layer_config", "quantization", "compression_config",
                          "temperature", "num_shared_layers"}) {
    refused_key({{key, {{"bits", 4}}}}, key, released);
  }
  for (const char* key : {"intermediate_size", "num_local_experts", "v_head_dim", "qk_nope_head_dim", "moe_layer_freq",
                          "first_k_dense_replace", "compress_rate_csa", "compress_rate_hca"}) {
    refused_key({{key, 3}}, key, released);
  }
  refused_key({{"compress_rates", {{"compressed_sparse_attention", 128}}}}, "compressed_sparse_attention", saved);
  refused_key({{"compress_rates", {{"another_attention", 4}}}}, "another_attention", saved);
  for (const auto& [key, value] : {std::pair("activation_scheme", "static"), std::pair("scale_fmt", "float"),
                                   std::pair("fmt", "e5m2"), std::pair("kv_cache_scheme", "fp8")}) {
    refused_key({{"quantization_config", {{key, value}}}}, key, released);
  }
}

TEST(V4Config, KeysThatSayWhatTheModelDoesAnyway) {
  json config = tiny_json();
  config["rope_scaling"].update({{"attention_factor", 1.0}, {"truncate", true}, {"rope_type", "yarn"}});
  config["partial_rotary_factor"] = config["rope_scaling"]["partial_rotary_factor"] = 0.5;
  config.update({{"intermediate_size", 128},
                 {"num_local_experts", 8},
                 {"v_head_dim", 128},
                 {"qk_nope_head_dim", 64},
                 {"first_k_dense_replace", 0},
                 {"compress_rate_csa", 4},
                 {"transformers_version", "5.23.0"},
                 {"use_cache", true},
                 {"attention_dropout", 0.1},
                 {"_name_or_path", "x"},
                 {"logit_softcap", nullptr}});
  config["quantization_config"]["modules_to_not_convert"] = {"lm_head"};
  expect_same(parse(config), parse(tiny_json()));
  config["rope_scaling"] = json::object();
  EXPECT_EQ(parse(config).rope_factor, 1);
  config["rope_scaling"] = {{"type", "default"}};
  EXPECT_EQ(parse(config).rope_factor, 1);
  config["rope_scaling"]["factor"] = 16;
  EXPECT_THAT(message_of(config.dump()), HasSubstr("'rope_scaling': 'factor' is 16"));
}

TEST(V4Config, RefusesContradictions) {
  EXPECT_THAT(refused({{"rope_scaling", {{"rope_type", "default"}}}}),
              HasSubstr("'type' is \"yarn\", but 'rope_type' is \"default\""));
  json both = transformers_config(tiny_json());
  both["rope_scaling"] = tiny_json()["rope_scaling"];
  EXPECT_THAT(message_of(both.dump()), HasSubstr("'rope_scaling' and 'rope_parameters'"));
  both = transformers_config(tiny_json());
  both["num_hash_layers"] = 2;
  expect_same(parse(both), parse(tiny_json()));
  both["num_hash_layers"] = 1;
  EXPECT_THAT(message_of(both.dump()), HasSubstr("'num_hash_layers' is 1, but 'mlp_layer_types' has 2"));
  EXPECT_THAT(refused({{"rope_parameters", {{"main", {{"rope_type", "yarn"}}}}}}, transformers_config(tiny_json())),
              HasSubstr("'main': type is \"yarn\""));
}

TEST(V4Config, NamesTheMethodThatWeightsAreStoredBy) {
  for (const char* method : {"gptq", "awq", "modelopt", "compressed-tensors"}) {
    EXPECT_THAT(refused({{"quantization_config", {{"quant_method", method}, {"bits", 4}}}}),
                AllOf(HasSubstr("'quant_method' is \"" + std::string(method) + "\""), HasSubstr("dequantised")));
  }
}

TEST(V4Config, NamesTheMethodThatAFileOfItsOwnTells) {
  const TempFolder folder;
  const std::string path = folder.write("config.json", tiny_json().dump());
  folder.write("hf_quant_config.json", R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": null}})");
  expect_same(read_v4_config(path), parse(tiny_json()));
  folder.write("hf_quant_config.json", R"({"quantization": {"quant_algo": "NVFP4"}})");
  try {
    read_v4_config(path);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("hf_quant_config.json"), HasSubstr("'quant_algo' is \"NVFP4\"")));
  }
}

TEST(V4Config, NamesNumbersThatOnlyPythonWrites) {
  const auto with = [](const std::string& number) {
    return message_of("{\n  \"model_type\": \"deepseek_v4\",\n  \"attention_dropout\": " + number + "\n}");
  };
  EXPECT_THAT(with("NaN"), AllOf(HasSubstr("config.json: line 3: NaN"), HasSubstr("\"attention_dropout\": NaN'")));
  EXPECT_THAT(with("Infinity"), HasSubstr("line 3: Infinity"));
  EXPECT_THAT(with("-Infinity"), HasSubstr("\"attention_dropout\": -Infinity'"));
  EXPECT_THAT(with("[1, NaN]"), HasSubstr("line 3: NaN"));
  EXPECT_THAT(with("Nan"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message_of("{" + std::string(200, ' ') + "\"a\":NaN}"), HasSubstr("\"a\":NaN'"));
}

TEST(V4Config, RefusesTextThatIsNoConfiguration) {
  EXPECT_THAT(message_of(""), HasSubstr("config.json: not valid JSON"));
  EXPECT_THAT(message_of("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(message_of("{\"a\":" + std::string(100000, '{')), HasSubstr("config.json"));
  EXPECT_THAT(message_of("{\"a\":" + std::string(100000, '[')), HasSubstr("nested deeper than 64"));
  EXPECT_THROW(read_v4_config("/no/such/config.json"), Error);
}

}  // namespace
}  // namespace v4rt
