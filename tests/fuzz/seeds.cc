// fuzz_seeds FOLDER: writes the inputs that fuzzing starts from, one folder per target: files of the tests' data, and
// small ones that together have every part of their format.

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "loaders/files/json_file.h"
#include "loaders/weight_file/weight_file.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

class Seeds {
 public:
  Seeds(const std::string& folder, const std::string& target) : folder_(folder + "/" + target) {
    fs::create_directories(folder_);
  }
  std::string next() { return folder_ + "/" + std::to_string(count_++); }
  void add(const std::string& bytes) { std::ofstream(next(), std::ios::binary) << bytes; }

 private:
  std::string folder_;
  int count_ = 0;
};

std::string source(const std::string& path) { return read_text_file(std::string(V4RT_SOURCE_DIR) + "/" + path); }

void write_safetensors(Seeds seeds) {
  std::vector<RawTensor> all;
  for (int i = 0; i <= static_cast<int>(StoredType::kU64); ++i) {
    const auto type = static_cast<StoredType>(i);
    all.push_back(
        {"w" + std::to_string(i), std::string(spelling(type)), {2, 1}, std::string(size_t(bits(type)) / 4, 'x')});
  }
  seeds.add(safetensors_bytes(all));
  seeds.add(safetensors_bytes({{"layers.0.w", "F32", {2, 3}, std::string(24, 'a')},
                               {"layers.0.s", "F8_E8M0", {1, 1}, "s"},
                               {"packed", "I8", {1, 2, 2, 2}, std::string(8, 'p')},
                               {"scalar", "BF16", {}, "bf"},
                               {"none", "BF16", {0}, ""}},
                              3));
  seeds.add(file_bytes(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "a"));
  seeds.add(file_bytes("{}", ""));
}

void write_index(Seeds seeds) {
  seeds.add(R"({"metadata":{"total_size":7},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
            R"("b":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})");
  seeds.add(R"({"weight_map":{"c":"model-00002-of-00002.safetensors"}})");
  seeds.add(R"({"weight_map":{"a":"../model.safetensors"}})");
}

// The same model in the form that transformers writes.
nlohmann::json with_layer_types(nlohmann::json config) {
  nlohmann::json types = nlohmann::json::array(), mlp = nlohmann::json::array();
  const int layers = config["num_hidden_layers"], hashed = config["num_hash_layers"];
  for (int i = 0; i < layers; ++i) {
    const int ratio = config["compress_ratios"][static_cast<size_t>(i)];
    types.push_back(ratio == 0   ? "sliding_attention"
                    : ratio == 4 ? "compressed_sparse_attention"
                                 : "heavily_compressed_attention");
    mlp.push_back(i < hashed ? "hash_moe" : "moe");
  }
  for (const char* key : {"compress_ratios", "num_hash_layers", "rope_scaling"}) config.erase(key);
  config["layer_types"] = types;
  config["mlp_layer_types"] = mlp;
  config["compress_rates"] = {{"compressed_sparse_attention", 4}, {"heavily_compressed_attention", 128}};
  config["rope_parameters"] = {{"main", {{"rope_type", "default"}, {"rope_theta", 10000}}},
                               {"compress",
                                {{"rope_type", "yarn"},
                                 {"rope_theta", 160000},
                                 {"factor", 16},
                                 {"original_max_position_embeddings", 65536},
                                 {"beta_fast", 32},
                                 {"beta_slow", 1}}}};
  return config;
}

void write_config(Seeds seeds) {
  for (const char* path : {"examples/models/v4-mini/config.json", "tests/data/tiny-flash/config.json"}) {
    const std::string text = source(path);
    seeds.add(text);
    seeds.add(with_layer_types(nlohmann::json::parse(text)).dump());
  }
}

void write_generation_config(Seeds seeds) {
  seeds.add(source("examples/models/v4-mini/generation_config.json"));
  seeds.add(R"({"eos_token_id":[1,386],"do_sample":true,"temperature":0.6,"top_p":0.95,"top_k":20})");
  seeds.add(R"({"eos_token_id":1,"do_sample":false,"repetition_penalty":1.0})");
}

void write_tokenizer(Seeds seeds) {
  const auto with_text = [](const std::string& json, std::string_view text) {
    return std::string(json).append(1, '\0').append(text);
  };
  const std::string toy = source("tests/data/tokenizer/toy.json");
  seeds.add(toy);
  seeds.add(with_text(toy, "<｜User｜>The cat, 12345 <think>\r\n  na\xc3\xafve \xff\xfe</think>"));
  const std::string small =
      R"({"added_tokens":[{"id":300,"content":"<a"},{"id":301,"content":"<abc"}],"normalizer":null,)"
      R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[)"
      R"({"type":"Split","pattern":{"Regex":"\\p{N}{1,3}"},"behavior":"Isolated","invert":false},)"
      R"({"type":"Split","pattern":{"String":"=="},"behavior":"Isolated","invert":false},)"
      R"({"type":"Split","pattern":{"Regex":"[^\\r\\n\\p{L}]?\\p{L}+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated"},)"
      R"({"type":"ByteLevel","use_regex":false,"add_prefix_space":false}]},)"
      R"("model":{"type":"BPE","vocab":{"a":5,"b":6,"ab":7,"aba":8,"\u0120":9,"\u0120a":10},)"
      R"("merges":[["a","b"],"ab a",["\u0120","a"]]},"decoder":{"type":"ByteLevel"}})";
  seeds.add(with_text(small, "ab aba == 1234 <abc<ab"));
  seeds.add(with_text(R"({"pre_tokenizer":{"type":"ByteLevel","use_regex":false},)"
                      R"("model":{"type":"BPE","vocab":{},"merges":[]}})",
                      std::string(600, 'a')));
}

void write_weight_file(Seeds seeds) {
  const std::vector<NewWeight> weights = {
      {"small", {.dtype = DType::kF32, .shape = {3, 5}, .layout = Layout::kRows}},
      {"matrix", {.dtype = DType::kFp4, .shape = {2, 32, 64}, .layout = Layout::kRows16}}};
  for (size_t n = 0; n <= weights.size(); ++n) {
    WeightFileWriter writer(seeds.next(), {1, 2}, {weights.begin(), weights.begin() + static_cast<ptrdiff_t>(n)});
    writer.begin();
    for (size_t i = 0; i < n; ++i) {
      writer.append_values(i, std::vector<std::byte>(weights[i].type.bytes()));
      writer.append_scales(i, std::vector<std::byte>(weights[i].type.scale_bytes()));
    }
    writer.commit(nullptr);
  }
}

void write_chat(Seeds seeds) {
  const std::string talk = "system\tBe brief.\nuser\tHello\nassistant\tHi.\thm\nuser\tWhat is <think>?";
  for (const char* options : {"", "t", "tk", "tkrm", "trh", "n", "tl"}) seeds.add(std::string(options) + "\n" + talk);
  seeds.add("t\ndeveloper\tD\nassistant\tA\tR\nlatest_reminder\t2026-02-21\nuser\tQ\nuser\tQ2\nlatest_reminder\tr");
  seeds.add("c\nuser\tQ\nassistant\tA");
  seeds.add("\ntool\tx");
}

void write_schema(Seeds seeds) {
  const std::string choices = std::string(1, '\0') + "any 40 bytes choose what the text says.";
  for (
      const char* schema :
      {"{}",
       R"({"type":"object","properties":{"a":{"type":"string","maxLength":3},"b":{"enum":[1,"x",null]}},"required":["a"]})",
       R"({"anyOf":[{"type":"integer","minimum":-5,"maximum":120},{"type":"number","exclusiveMinimum":0}]})",
       R"({"type":"array","prefixItems":[{"const":{"k":"\u00e9"}}],"items":{"$ref":"#/$defs/d"},"minItems":1,"$defs":{"d":{"type":["null","boolean"]}}})",
       R"({"additionalProperties":{"$ref":"#"},"properties":{"ab":false,"\u00e9":true}})"})
    seeds.add(schema + choices);
}

void write_request(Seeds seeds) {
  const std::string messages = R"("messages":[{"role":"system","content":"Be brief."},{"role":"user","content":)"
                               R"([{"type":"text","text":"Hi"},{"type":"text","text":"<think>"}]})";
  const std::string schema =
      R"({"type":"object","properties":{"city":{"type":"string"},"n":{"type":"integer"}},"required":["city","n"],"additionalProperties":false})";
  const std::string function = R"("name":"add","description":"Adds.","strict":true,"parameters":)" + schema;
  for (
      const std::string& body :
      {"c{" + messages + R"(],"model":"m","stream":true,"stream_options":{"include_usage":true},"seed":3,"n":2})",
       "c{" + messages + R"(],"tools":[{"type":"function","function":{)" + function +
           R"(}}],"tool_choice":"required","thinking":{"type":"disabled"},"parallel_tool_calls":false})",
       "c{" + messages +
           R"(,{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"1",)"
           R"("type":"function","function":{"name":"add","arguments":"{\"a\": 1}"}}]},)"
           R"({"role":"tool","tool_call_id":"1","content":"2"}],"user_id":"u","max_tokens":5})",
       "c{" + messages +
           R"(,{"role":"assistant","content":"{\"city\":","prefix":true}],"response_format":)"
           R"({"type":"json_schema","json_schema":{"name":"x","schema":)" +
           schema + "}}}",
       "c{" + messages +
           R"(],"temperature":0.5,"top_p":0.9,"top_k":5,"min_p":0.1,"stop":["a","bc"],"logprobs":true,)"
           R"("top_logprobs":2,"reasoning_effort":"max","response_format":{"type":"json_object"}})",
       "c{" + messages +
           R"(],"chat_template_kwargs":{"thinking":false},"tools":[{"function":{"name":"f"}}],)"
           R"("tool_choice":{"type":"function","function":{"name":"f"}}})",
       std::string(R"(t{"prompt":"def f(","suffix":"return","max_tokens":4,"stop":"x","logprobs":2})"),
       std::string(R"(t{"prompt":[0,5,6],"echo":true,"logprobs":3,"stream":true,"temperature":0})"),
       R"(r{"instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},)"
       R"({"type":"reasoning","content":[{"type":"reasoning_text","text":"r"}]},{"type":"function_call","call_id":"1",)"
       R"("name":"add","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":"2"}],)"
       R"("reasoning":{"effort":"low"},"tools":[{"type":"function",)" +
           function + R"(}],"max_output_tokens":9})",
       R"(r{"input":"Hi","stream":true,"text":{"format":{"type":"json_schema","name":"x","schema":)" + schema + "}}}",
       R"(m{"max_tokens":9,"system":[{"type":"text","text":"S"}],"messages":[{"role":"user","content":"Hi"},)"
       R"({"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"a"},)"
       R"({"type":"tool_use","id":"1","name":"add","input":{"city":"x","n":1}}]},{"role":"user","content":)"
       R"([{"type":"tool_result","tool_use_id":"1","content":"2"}]}],"tools":[{"name":"add","input_schema":)" +
           schema +
           R"(}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"stop_sequences":["x"],"stream":true})",
       R"(m{"max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"enabled","budget_tokens":9},)"
       R"("output_config":{"effort":"high","format":{"type":"json_schema","schema":)" +
           schema + R"(}},"metadata":{"user_id":"u"}})",
       std::string(R"(k{"messages":[{"role":"user","content":"Hi"}],"system":"S","thinking":{"type":"disabled"}})")})
    seeds.add(body.substr(0, 1) + "\n" + body.substr(1));
}

}  // namespace
}  // namespace v4rt

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  std::filesystem::remove_all(folder);
  v4rt::write_safetensors({folder, "safetensors"});
  v4rt::write_index({folder, "index"});
  v4rt::write_config({folder, "config"});
  v4rt::write_generation_config({folder, "generation_config"});
  v4rt::write_tokenizer({folder, "tokenizer"});
  v4rt::write_weight_file({folder, "weight_file"});
  v4rt::write_chat({folder, "chat"});
  v4rt::write_schema({folder, "schema"});
  v4rt::write_request({folder, "request"});
  return 0;
}
