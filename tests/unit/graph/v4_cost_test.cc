#include "graph/model/v4_cost.h"

#include <gtest/gtest.h>

namespace v4rt {
namespace {

constexpr int64_t k4K = 4096, k128K = 131072, k1M = 1048576;

V4Config flash() {
  V4Config c;
  c.vocab_size = 129280;
  c.hidden_size = 4096;
  c.num_layers = 43;
  c.num_heads = 64;
  c.head_dim = 512;
  c.rope_head_dim = 64;
  c.q_lora_rank = 1024;
  c.o_lora_rank = 1024;
  c.o_groups = 8;
  c.sliding_window = 128;
  c.compress_ratios = {0, 0};
  c.index_n_heads = 64;
  c.index_head_dim = 128;
  c.index_topk = 512;
  c.num_experts = 256;
  c.num_experts_per_token = 6;
  c.moe_intermediate_size = 2048;
  c.num_hash_layers = 3;
  for (int layer = 2; layer < c.num_layers; ++layer) c.compress_ratios.push_back(layer % 2 == 0 ? 4 : 128);
  c.compress_ratios.push_back(0);
  return c;
}

V4Config pro() {
  V4Config c = flash();
  c.hidden_size = 7168;
  c.num_layers = 61;
  c.num_heads = 128;
  c.q_lora_rank = 1536;
  c.o_groups = 16;
  c.index_topk = 1024;
  c.num_experts = 384;
  c.moe_intermediate_size = 3072;
  c.compress_ratios = {128, 128};
  for (int layer = 2; layer < c.num_layers; ++layer) c.compress_ratios.push_back(layer % 2 == 0 ? 4 : 128);
  c.compress_ratios.push_back(0);
  return c;
}

// DeepSeek-V3.2 at 1M, what the report compares with: 61 layers of 656 + 132 bytes; FLOPs weighted as FP8.
constexpr double kV32CacheBytes = 61.0 * k1M * 788;
constexpr double kV32Fp8Flops = 1194.6e9;

TEST(V4Cost, LinearMacsOfFlash) {
  const LinearMacs m = linear_macs(flash());
  EXPECT_NEAR(m.attention / 1e9, 3.156, 5e-4);
  EXPECT_NEAR(m.output_groups / 1e9, 1.443, 5e-4);
  EXPECT_NEAR(m.compressor / 1e9, 0.304, 5e-4);
  EXPECT_NEAR(m.index_query / 1e9, 0.176, 5e-4);
  EXPECT_NEAR(m.index_weights / 1e9, 0.006, 5e-4);
  EXPECT_NEAR(m.experts / 1e9, 7.575, 5e-4);
  EXPECT_NEAR(m.gate / 1e9, 0.045, 5e-4);
  EXPECT_NEAR(m.hyper / 1e9, 0.034, 5e-4);
  EXPECT_NEAR(m.head / 1e9, 0.530, 5e-4);
  EXPECT_NEAR(m.total() / 1e9, 13.27, 5e-3);
}

TEST(V4Cost, LinearMacsOfPro) {
  const LinearMacs m = linear_macs(pro());
  EXPECT_NEAR(m.attention / 1e9, 14.20, 5e-3);
  EXPECT_NEAR(m.output_groups / 1e9, 4.094, 5e-4);
  EXPECT_NEAR(m.compressor / 1e9, 0.778, 5e-4);
  EXPECT_NEAR(m.index_query / 1e9, 0.377, 6e-4);
  EXPECT_NEAR(m.index_weights / 1e9, 0.014, 5e-4);
  EXPECT_NEAR(m.experts / 1e9, 28.208, 5e-4);
  EXPECT_NEAR(m.gate / 1e9, 0.168, 5e-4);
  EXPECT_NEAR(m.hyper / 1e9, 0.084, 5e-4);
  EXPECT_NEAR(m.head / 1e9, 0.927, 5e-4);
  EXPECT_NEAR(m.total() / 1e9, 48.85, 5e-3);
}

TEST(V4Cost, ContextMacs) {
  EXPECT_NEAR(context_macs(flash(), k1M).core / 1e9, 11.80, 5e-3);
  EXPECT_NEAR(context_macs(flash(), k1M).indexer / 1e9, 45.10, 5e-3);
  EXPECT_NEAR(context_macs(pro(), k1M).core / 1e9, 38.34, 5e-3);
  EXPECT_NEAR(context_macs(pro(), k1M).indexer / 1e9, 64.42, 5e-3);
  EXPECT_EQ(context_macs(flash(), 3).indexer, 0) << "no entry is complete before position 3";
}

TEST(V4Cost, FlopsPerToken) {
  EXPECT_NEAR(token_flops(flash(), k4K) / 1e9, 29.10, 6e-3);
  EXPECT_NEAR(token_flops(flash(), k128K) / 1e9, 42.63, 6e-3);
  EXPECT_NEAR(token_flops(flash(), k1M) / 1e9, 140.34, 6e-3);
  EXPECT_NEAR(token_flops(pro(), k4K) / 1e9, 108.56, 6e-3);
  EXPECT_NEAR(token_flops(pro(), k128K) / 1e9, 132.23, 6e-3);
  EXPECT_NEAR(token_flops(pro(), k1M) / 1e9, 303.22, 6e-3);
}

TEST(V4Cost, PublishedRatiosOfFlopsAreReproduced) {
  EXPECT_NEAR(token_flops_fp8_equivalent(flash(), k1M) / kV32Fp8Flops, 0.1010, 5e-5);
  EXPECT_NEAR(token_flops_fp8_equivalent(pro(), k1M) / kV32Fp8Flops, 0.2674, 5e-5);
}

TEST(V4Cost, CacheBytes) {
  EXPECT_NEAR(cache_bytes(flash(), NumberMode::kFaithful, k4K).cache() / 1e9, 0.0176, 5e-5);
  EXPECT_NEAR(cache_bytes(flash(), NumberMode::kFaithful, k128K).cache() / 1e9, 0.4638, 5e-5);
  EXPECT_NEAR(cache_bytes(flash(), NumberMode::kFaithful, k1M).cache() / 1e9, 3.688, 5e-4);
  EXPECT_NEAR(cache_bytes(pro(), NumberMode::kFaithful, k4K).cache() / 1e9, 0.0252, 5e-5);
  EXPECT_NEAR(cache_bytes(pro(), NumberMode::kFaithful, k128K).cache() / 1e9, 0.6640, 5e-5);
  EXPECT_NEAR(cache_bytes(pro(), NumberMode::kFaithful, k1M).cache() / 1e9, 5.280, 5e-4);
  EXPECT_NEAR(cache_bytes(flash(), NumberMode::kFaithful, k1M).pending / 1e6, 12.21, 5e-3);
  EXPECT_NEAR(cache_bytes(pro(), NumberMode::kFaithful, k1M).pending / 1e6, 18.71, 5e-3);
}

TEST(V4Cost, PublishedRatiosOfTheCacheAreReproduced) {
  EXPECT_NEAR(cache_bytes(flash(), NumberMode::kFaithful, k1M).cache() / kV32CacheBytes, 0.0732, 5e-5);
  EXPECT_NEAR(cache_bytes(pro(), NumberMode::kFaithful, k1M).cache() / kV32CacheBytes, 0.1048, 5e-5);
}

TEST(V4Cost, PlainCacheKeepsNumbersAsF32) {
  V4Config c = flash();
  c.num_layers = 3;  // 0, 0, 4
  const CacheBytes bytes = cache_bytes(c, NumberMode::kPlain, 4096);
  EXPECT_EQ(bytes.window, 3 * 128 * 512 * 4);
  EXPECT_EQ(bytes.compressed, 1024 * 512 * 4);
  EXPECT_EQ(bytes.index, 1024 * 128 * 4);
}

TEST(V4Cost, ParametersOfTheReleases) {
  EXPECT_NEAR(total_parameters(flash()) / 1e9, 284.3, 0.05);
  EXPECT_NEAR(total_parameters(pro()) / 1e9, 1573.0, 0.5);
}

}  // namespace
}  // namespace v4rt
