// The made-up model of the specification's section 13: plain mode, every device, against numbers from a
// double-precision script.

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/support/memory_weights.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

V4Config tiny_config() {
  V4Config c;
  c.vocab_size = 32, c.hidden_size = 16, c.num_layers = 4, c.num_heads = 4, c.head_dim = 8, c.rope_head_dim = 4;
  c.q_lora_rank = 8, c.o_groups = 2, c.o_lora_rank = 4, c.sliding_window = 4, c.compress_ratios = {0, 4, 8, 4, 0};
  c.rope_factor = 16, c.rope_original_context = 65536, c.rope_beta_fast = 32, c.rope_beta_slow = 1,
  c.max_position = 4096;
  c.index_n_heads = 4, c.index_head_dim = 8, c.index_topk = 2, c.num_experts = 4, c.num_experts_per_token = 2;
  c.moe_intermediate_size = 8, c.num_hash_layers = 1, c.routed_scaling_factor = 1.5, c.swiglu_limit = 1.5,
  c.has_mtp = true;
  return c;
}

// Element `index` of an official tensor, before scaling: uniform in [-1, 1), by hashing its name.
double uniform(const std::string& official, int64_t index) {
  uint32_t seed = 2166136261u;
  for (const char ch : official) seed = (seed ^ static_cast<unsigned char>(ch)) * 16777619u;
  uint32_t x = seed + static_cast<uint32_t>(index) * 0x9E3779B9u;
  x ^= x >> 16, x *= 0x7FEB352Du, x ^= x >> 15, x *= 0x846CA68Bu, x ^= x >> 16;
  return 2 * (static_cast<double>(x >> 8) / 16777216.0) - 1;
}

double scaled(const std::string& official, double r, int64_t last_dim) {
  const auto ends = [&](std::string_view tail) { return official.ends_with(tail); };
  if (official == "embed.weight") return 1.7320508 * r;
  if (official.find("norm") != std::string::npos) return 1 + 0.2 * r;
  if (ends("_scale")) return 0.6 + 0.2 * r;
  if (ends("_base") || ends("ape")) return 0.5 * r;
  if (ends("attn_sink")) return r;
  if (ends("gate.bias")) return 0.1 * r;
  return r * 1.7320508 / std::sqrt(static_cast<double>(last_dim));
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

// Maps our fused and stacked names back to official tensors and indices.
float element(const WeightInfo& weight, int64_t index) {
  const Shape& shape = weight.shape;
  if (weight.role == WeightRole::kTable) return static_cast<float>((3 * (index / 2) + index % 2) % 4);
  std::string name = weight.name;
  const int64_t half = shape.elements() / 2;
  if (name.find("wkv_gate") != std::string::npos) {
    name = replaced(name, "wkv_gate", index < half ? "wkv" : "wgate");
    index %= half;
  } else if (name.find("w13") != std::string::npos) {
    name = replaced(name, "w13", index < half ? "w1" : "w3");
    index %= half;
  } else if (shape.rank() == 3) {
    const int64_t per_expert = shape[1] * shape[2];
    name = replaced(name, "experts.", fmt::format("experts.{}.", index / per_expert));
    index %= per_expert;
  }
  return static_cast<float>(scaled(name, uniform(name, index), shape[-1]));
}

struct Expected {
  int64_t position;
  float logits[6];
  size_t argmax;
  double sum;
};

const Expected kMain[] = {{0, {0.464373f, 0.207562f, 0.583868f, 1.223708f, 0.304196f, -1.492693f}, 21, 1.30663},
                          {3, {-1.347342f, 0.457223f, -1.334373f, -0.674273f, 0.052554f, -0.305297f}, 13, -15.58575},
                          {4, {-0.054665f, -0.661895f, 0.600404f, -0.465629f, 1.208642f, 0.985592f}, 17, 1.58909},
                          {11, {0.567579f, -0.044922f, 0.306362f, -1.073509f, -1.745734f, -0.937825f}, 22, -7.12686},
                          {23, {-0.016283f, 0.147378f, 1.609114f, -1.355922f, 0.119213f, 0.689815f}, 23, 4.13631}};
const Expected kMtp[] = {{0, {0.506437f, -0.286328f, -1.937158f, 0.370914f, 0.523239f, -0.270680f}, 14, -8.46307},
                         {10, {-0.533435f, 0.973479f, -1.063614f, 0.359269f, -0.027305f, -0.411382f}, 10, -6.19233},
                         {22, {-0.923681f, 1.270018f, -0.681691f, -0.148938f, -1.231495f, -0.235133f}, 10, -3.82598}};

void expect_rows(std::span<const float> all, std::span<const Expected> expected) {
  constexpr size_t kVocab = 32;
  for (const Expected& e : expected) {
    const auto row = all.subspan(static_cast<size_t>(e.position) * kVocab, kVocab);
    for (size_t i = 0; i < 6; ++i)
      EXPECT_NEAR(row[i], e.logits[i], 2e-5) << "position " << e.position << ", logit " << i;
    EXPECT_EQ(argmax(row), e.argmax) << "position " << e.position;
    EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0), e.sum, 2e-4) << "position " << e.position;
  }
}

TEST(GoldenTinyWeights, AreTheScripts) {
  const MemoryWeights weights(tiny_config(), element);
  const auto value = [&](const std::string& name, size_t i) {
    return reinterpret_cast<const float*>(weights.get(name).parts[0].data())[i];
  };
  EXPECT_NEAR(value("embed.weight", 5 * 16), 0.12646420f, 1e-7);
  EXPECT_NEAR(value("embed.weight", 5 * 16 + 3), 0.43617490f, 1e-7);
  EXPECT_NEAR(value("layers.0.attn.wq_a.weight", 1), -0.42385304f, 1e-7);
  EXPECT_NEAR(value("layers.0.hc_attn_base", 1), 0.45653009f, 1e-7);
}

class GoldenTiny : public testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(GoldenTiny, LogitsOfTheModelAndOfItsMtpBlock) {
  const auto& [device, chunk] = GetParam();
  const auto weights = std::make_shared<const MemoryWeights>(tiny_config(), element);
  Session session(open_model(
      weights, {.device = device, .numbers = NumberMode::kPlain, .chunk = chunk, .context = 64, .mtp = true}));
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 24; ++i) ids.push_back((7 * i * i + 3 * i + 5) % 32);
  const Scores scores = score_all(session, ids);
  expect_rows(scores.logits, kMain);
  expect_rows(scores.mtp, kMtp);
}

INSTANTIATE_TEST_SUITE_P(Devices, GoldenTiny,
                         testing::Combine(testing::ValuesIn(built_in_backends()), testing::Values(1, 7, 24)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_chunk" + std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace v4rt
