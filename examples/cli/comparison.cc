#include "examples/cli/comparison.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "examples/cli/format.h"
#include "graph/model/v32_cost.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

constexpr std::array<std::pair<std::string_view, int64_t>, 3> kContexts = {
    {{"4K", 4096}, {"128K", 131072}, {"1M", 1048576}}};

struct Costs {
  double cache, flops, fp8_flops;
};

template <class Config>
Costs costs(const Config& config, const CacheBytes& cache, int64_t context) {
  return {cache.cache(), token_flops(config, context), token_flops_fp8_equivalent(config, context)};
}
Costs ours(const V4Config& config, int64_t context) {
  return costs(config, cache_bytes(config, NumberMode::kFaithful, context), context);
}
Costs theirs(int64_t context) { return costs(V32Config(), cache_bytes(V32Config(), context), context); }

std::string percent(double share) { return fmt::format("{:.3g} %", 100 * share); }

}  // namespace

std::span<const std::pair<std::string_view, int64_t>> shown_contexts() { return kContexts; }

std::string against_v32_text(const V4Config& config) {
  std::vector<std::vector<std::string>> rows = {
      {"context", "KV cache", "V3.2's", "share", "FLOP per token", "V3.2's", "share", "as FP8", "V3.2's", "share"}};
  for (const auto& [name, context] : shown_contexts()) {
    const Costs v4 = ours(config, context), v32 = theirs(context);
    rows.push_back({std::string(name), human_bytes(v4.cache), human_bytes(v32.cache), percent(v4.cache / v32.cache),
                    human_count(v4.flops), human_count(v32.flops), percent(v4.flops / v32.flops),
                    human_count(v4.fp8_flops), human_count(v32.fp8_flops), percent(v4.fp8_flops / v32.fp8_flops)});
  }
  return table(rows, "<>>>>>>>>>") +
         "V3.2's: DeepSeek-V3.2 with its sparse attention. As FP8: a product of bf16 or f32 counts twice, one of FP4 "
         "index scores half\n";
}

nlohmann::ordered_json against_v32_json(const V4Config& config) {
  nlohmann::ordered_json contexts = nlohmann::ordered_json::array();
  for (const auto& [name, context] : shown_contexts()) {
    const Costs v4 = ours(config, context), v32 = theirs(context);
    contexts.push_back({{"context", context},
                        {"kv_cache_bytes", v32.cache},
                        {"flops_per_token", v32.flops},
                        {"flops_per_token_fp8_equivalent", v32.fp8_flops},
                        {"kv_cache_share", v4.cache / v32.cache},
                        {"flops_share", v4.flops / v32.flops},
                        {"flops_fp8_equivalent_share", v4.fp8_flops / v32.fp8_flops}});
  }
  return {{"model", "deepseek_v3.2"}, {"contexts", std::move(contexts)}};
}

}  // namespace v4rt::cli
