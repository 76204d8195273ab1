#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "examples/cli/command.h"
#include "examples/cli/comparison.h"
#include "examples/cli/format.h"
#include "examples/cli/input.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "graph/model/v4_cost.h"
#include "loaders/checkpoint/v4_names.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

// Bytes of the main model's weights in memory, and those that one token reads: a row of each table, the active experts,
// and everything else completely.
struct WeightBytes {
  double memory = 0, per_token = 0;
};

WeightBytes weight_bytes(const WeightSource& weights) {
  V4Config config = weights.config();
  config.has_mtp = false;
  WeightBytes bytes;
  for (const WeightInfo& info : v4_weights(config)) {
    const TensorType type = weights.type(info.name);
    const double size = static_cast<double>(type.bytes() + type.scale_bytes());
    double share = 1;
    if (info.role == WeightRole::kEmbedding || info.role == WeightRole::kTable)
      share = 1.0 / static_cast<double>(config.vocab_size);
    if (info.name.find(".ffn.experts.") != std::string::npos)
      share = double(config.num_experts_per_token) / config.num_experts;
    bytes.memory += size;
    bytes.per_token += size * share;
  }
  return bytes;
}

struct LayerKinds {
  int window = 0;
  std::map<int, int> compressed;  // ratio -> layers
  std::string letters;
};

LayerKinds layer_kinds(const V4Config& config) {
  LayerKinds kinds;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const int ratio = config.layer_ratio(layer);
    kinds.letters += ratio == 0 ? 'W' : V4Config::overlaps(ratio) ? 'C' : 'H';
    if (ratio == 0)
      ++kinds.window;
    else
      ++kinds.compressed[ratio];
  }
  return kinds;
}

std::string describe(const LayerKinds& kinds, const V4Config& config) {
  std::string text = fmt::format("{} sliding window (W)", kinds.window);
  for (const auto& [ratio, count] : kinds.compressed) {
    text += V4Config::overlaps(ratio)
                ? fmt::format(", {} CSA (C: {} tokens an entry, best {})", count, ratio, config.index_topk)
                : fmt::format(", {} HCA (H: {} tokens an entry)", count, ratio);
  }
  return text;
}

// "name      value"
std::string line(std::string_view name, const std::string& value) { return fmt::format("{:<13} {}\n", name, value); }

std::string architecture_text(const V4Config& c) {
  const LayerKinds kinds = layer_kinds(c);
  return line("architecture",
              fmt::format("DeepSeek-V4: {} layers, hidden size {} in {} streams, vocabulary {}, positions up to {}",
                          c.num_layers, c.hidden_size, c.hc_mult, c.vocab_size, c.max_position)) +
         line("layers", describe(kinds, c)) + line("", kinds.letters) +
         line("attention",
              fmt::format("{} heads of {}, {} of them rotary; window {}; query rank {}; output in {} groups of rank {}",
                          c.num_heads, c.head_dim, c.rope_head_dim, c.sliding_window, c.q_lora_rank, c.o_groups,
                          c.o_lora_rank)) +
         line("experts", fmt::format("{} of {} routed + {} shared, width {}; {} hash-routed layer{}",
                                     c.num_experts_per_token, c.num_experts, c.num_shared_experts,
                                     c.moe_intermediate_size, c.num_hash_layers, c.num_hash_layers == 1 ? "" : "s")) +
         line("parameters", fmt::format("{}, {} of them active per token; without MTP",
                                        human_count(total_parameters(c)), human_count(linear_macs(c).total())));
}

std::string mtp_text(const Checkpoint& checkpoint) {
  if (checkpoint.weights->config().has_mtp) return "classic block, with its own head";
  return checkpoint.mtp_note.value_or("none");
}

std::string recommended_text(const std::optional<GenerationConfig>& generation) {
  if (!generation) return "none: there is no generation_config.json";
  const auto shown = [](const std::optional<double>& value) { return value ? fmt::format("{}", *value) : "-"; };
  std::string text = fmt::format("temperature {}, top-p {}", shown(generation->temperature), shown(generation->top_p));
  if (generation->top_k) text += fmt::format(", top-k {}", *generation->top_k);
  if (generation->min_p) text += fmt::format(", min-p {}", *generation->min_p);
  if (generation->repetition_penalty) text += fmt::format(", repetition penalty {}", *generation->repetition_penalty);
  if (!generation->not_applied.empty())
    text += fmt::format("; not applied: {}", fmt::join(generation->not_applied, ", "));
  return text;
}

std::string files_text(const Checkpoint& checkpoint) {
  std::vector<std::vector<std::string>> rows = {{"tensors", "number", "bytes"}};
  for (const TensorSummary& t : checkpoint.tensors)
    rows.push_back({t.dtype, std::to_string(t.tensors), human_bytes(t.bytes)});
  const WeightBytes bytes = weight_bytes(*checkpoint.weights);
  return line("files", fmt::format("{}; {} names", checkpoint.container, checkpoint.naming)) +
         line("MTP", mtp_text(checkpoint)) +
         line("end tokens", fmt::format("{}", fmt::join(checkpoint.weights->config().eos_token_ids, ", "))) +
         line("recommended", recommended_text(checkpoint.generation)) + "\n" + table(rows, "<>>") + "\n" +
         line("on disk", human_bytes(checkpoint.file_bytes)) +
         line("in memory", fmt::format("{} of weights, without MTP", human_bytes(bytes.memory))) +
         line("per token", fmt::format("{} of weights read", human_bytes(bytes.per_token)));
}

std::string cost_text(const V4Config& c) {
  std::vector<std::vector<std::string>> rows = {
      {"context", "KV cache", "in plain mode", "FLOP per token", "of them attention"}};
  for (const auto& [name, context] : shown_contexts()) {
    const ContextMacs macs = context_macs(c, context);
    rows.push_back({std::string(name), human_bytes(cache_bytes(c, NumberMode::kFaithful, context).cache()),
                    human_bytes(cache_bytes(c, NumberMode::kPlain, context).cache()),
                    human_count(token_flops(c, context)), human_count(2 * (macs.core + macs.indexer))});
  }
  return table(rows, "<>>>>") + fmt::format("and {} for blocks that are not complete, at any context\n",
                                            human_bytes(cache_bytes(c, NumberMode::kFaithful, 0).pending));
}

nlohmann::ordered_json architecture_json(const V4Config& c) {
  return {{"architecture", "deepseek_v4"},
          {"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"num_layers", c.num_layers},
          {"streams", c.hc_mult},
          {"compress_ratios", std::vector<int>(c.compress_ratios.begin(), c.compress_ratios.begin() + c.num_layers)},
          {"num_heads", c.num_heads},
          {"head_dim", c.head_dim},
          {"sliding_window", c.sliding_window},
          {"index_topk", c.index_topk},
          {"num_experts", c.num_experts},
          {"num_experts_per_token", c.num_experts_per_token},
          {"num_shared_experts", c.num_shared_experts},
          {"num_hash_layers", c.num_hash_layers},
          {"max_position", c.max_position},
          {"parameters", total_parameters(c)},
          {"active_parameters", linear_macs(c).total()}};
}

nlohmann::ordered_json recommended_json(const std::optional<GenerationConfig>& generation) {
  if (!generation) return nullptr;
  using Json = nlohmann::ordered_json;
  const auto shown = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  return {{"temperature", shown(generation->temperature)},
          {"top_p", shown(generation->top_p)},
          {"top_k", shown(generation->top_k)},
          {"min_p", shown(generation->min_p)},
          {"repetition_penalty", shown(generation->repetition_penalty)},
          {"not_applied", generation->not_applied}};
}

nlohmann::ordered_json files_json(const Checkpoint& checkpoint) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const TensorSummary& t : checkpoint.tensors)
    tensors.push_back({{"dtype", t.dtype}, {"tensors", t.tensors}, {"bytes", t.bytes}});
  const WeightBytes bytes = weight_bytes(*checkpoint.weights);
  return {{"container", checkpoint.container},
          {"naming", checkpoint.naming},
          {"has_mtp", checkpoint.weights->config().has_mtp},
          {"mtp", mtp_text(checkpoint)},
          {"end_tokens", checkpoint.weights->config().eos_token_ids},
          {"recommended_sampling", recommended_json(checkpoint.generation)},
          {"tensors", std::move(tensors)},
          {"file_bytes", checkpoint.file_bytes},
          {"weight_bytes", bytes.memory},
          {"weight_bytes_per_token", bytes.per_token}};
}

nlohmann::ordered_json cost_json(const V4Config& c) {
  nlohmann::ordered_json contexts = nlohmann::ordered_json::array();
  for (const auto& [name, context] : shown_contexts()) {
    const CacheBytes faithful = cache_bytes(c, NumberMode::kFaithful, context);
    contexts.push_back({{"context", context},
                        {"kv_cache_bytes", faithful.cache()},
                        {"kv_cache_bytes_plain", cache_bytes(c, NumberMode::kPlain, context).cache()},
                        {"pending_bytes", faithful.pending},
                        {"flops_per_token", token_flops(c, context)},
                        {"flops_per_token_fp8_equivalent", token_flops_fp8_equivalent(c, context)}});
  }
  return contexts;
}

struct InspectArguments {
  ModelArguments model;
  std::string config, against;
  bool json = false;
};

int inspect(const InspectArguments& arguments) {
  std::optional<Checkpoint> checkpoint;
  if (arguments.config.empty()) checkpoint = open_files(arguments.model);
  const V4Config config =
      checkpoint ? checkpoint->weights->config() : parse_v4_config(read_file(arguments.config), arguments.config);
  if (arguments.json) {
    nlohmann::ordered_json json = architecture_json(config);
    if (checkpoint) json.update(files_json(*checkpoint));
    json["contexts"] = cost_json(config);
    if (!arguments.against.empty()) json["against"] = against_v32_json(config);
    print(json_text(json));
    return kSuccess;
  }
  print(architecture_text(config) + (checkpoint ? files_text(*checkpoint) : "") + "\n" + cost_text(config) +
        (arguments.against.empty() ? "" : "\n" + against_v32_text(config)));
  return kSuccess;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command =
      app.add_subcommand("inspect", "Show what a checkpoint holds, and what a token costs: bytes, KV cache, FLOPs.");
  auto* model = add_model(*command, arguments->model)->required(false);
  auto* config =
      command->add_option("--config", arguments->config, "In place of MODEL: a config.json alone; - is standard input")
          ->check(nonempty())
          ->excludes(model);
  command->add_option("--against", arguments->against, "Also compare KV cache and FLOPs with another model: v3.2")
      ->check(CLI::IsMember({"v3.2"}));
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([arguments, model, config, &action] {
    if (model->count() + config->count() == 0) throw CLI::RequiredError("MODEL or --config");
    action = [arguments] { return inspect(*arguments); };
  });
}

}  // namespace v4rt::cli
