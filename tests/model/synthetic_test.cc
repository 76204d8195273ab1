// Random weights from `v4rt synth` make a model that runs, with logits like those of a real one.

#include <gtest/gtest.h>

#include <cmath>

#include "loaders/synthetic/synthetic_checkpoint.h"
#include "tests/support/models.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

TEST(Synthetic, LogitsAreFiniteAndOfTheOrderOfOne) {
  const TempFolder folder;
  V4Config config = read_v4_config(tiny_flash_path() + "/config.json");
  config.has_mtp = true;
  write_synthetic_checkpoint(config, folder.path(), {});
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 300; ++i) ids.push_back(i * 37 % 512);
  Scores expected;
  for (const std::string device : {"reference", "cpu"}) {
    Session session(open_model(folder.path(), {.device = device, .mtp = true}));
    const Scores scores = score_all(session, ids);
    for (const auto& logits : {scores.logits, scores.mtp}) {
      double squares = 0;
      for (const float v : logits) {
        ASSERT_TRUE(std::isfinite(v));
        squares += double{v} * v;
      }
      EXPECT_NEAR(std::sqrt(squares / static_cast<double>(logits.size())), 1, 0.3);
    }
    if (expected.logits.empty()) expected = scores;
    EXPECT_EQ(scores.logits, expected.logits);
    EXPECT_EQ(scores.mtp, expected.mtp);
  }
}

}  // namespace
}  // namespace v4rt
