#include "graph/model/v4_cost.h"

#include <gtest/gtest.h>

#include "graph/model/v32_cost.h"
#include "loaders/synthetic/v4_release.h"

namespace v4rt {
namespace {

constexpr int64_t k4K = 4096, k128K = 131072, k1M = 1048576;

V4Config flash() { return v4_flash_config(); }
V4Config pro() { return v4_pro_config(); }

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
  EXPECT_NEAR(token_flops_fp8_equivalent(flash(), k1M) / token_flops_fp8_equivalent(V32Config(), k1M), 0.1010, 5e-5);
  EXPECT_NEAR(token_flops_fp8_equivalent(pro(), k1M) / token_flops_fp8_equivalent(V32Config(), k1M), 0.2674, 5e-5);
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
  EXPECT_NEAR(cache_bytes(flash(), NumberMode::kFaithful, k1M).cache() / cache_bytes(V32Config(), k1M).cache(), 0.0732,
              5e-5);
  EXPECT_NEAR(cache_bytes(pro(), NumberMode::kFaithful, k1M).cache() / cache_bytes(V32Config(), k1M).cache(), 0.1048,
              5e-5);
}

TEST(V32Cost, LinearMacs) {
  const LinearMacs m = linear_macs(V32Config());
  EXPECT_NEAR(m.attention / 1e9, 11.413, 5e-4);
  EXPECT_NEAR((m.index_query + m.index_weights) / 1e9, 0.852, 5e-4);
  EXPECT_NEAR(m.experts / 1e9, 24.178, 5e-4);
  EXPECT_NEAR(m.gate / 1e9, 0.106, 5e-4);
  EXPECT_NEAR(m.head / 1e9, 0.927, 5e-4);
  EXPECT_NEAR(m.total() / 1e9, 37.48, 5e-3);
}

TEST(V32Cost, FlopsPerToken) {
  EXPECT_NEAR(token_flops(V32Config(), k4K) / 1e9, 113.84, 6e-3);
  EXPECT_NEAR(token_flops(V32Config(), k128K) / 1e9, 240.74, 6e-3);
  EXPECT_NEAR(token_flops(V32Config(), k1M) / 1e9, 1157.72, 6e-3);
  EXPECT_NEAR(token_flops_fp8_equivalent(V32Config(), k1M) / 1e9, 1194.6, 0.1);
  EXPECT_EQ(context_macs(V32Config(), 1000).core, context_macs(V32Config(), 2000).core / 2);
  EXPECT_EQ(context_macs(V32Config(), 2048).core, context_macs(V32Config(), k1M).core);
}

TEST(V32Cost, CacheBytes) { EXPECT_EQ(cache_bytes(V32Config(), k1M).cache(), 61.0 * k1M * (656 + 132)); }

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
