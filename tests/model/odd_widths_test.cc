// A checkpoint whose widths are no multiples of a scale block's 128 rows or columns: layer by layer against formulas in
// double precision, on every device.

#include <gtest/gtest.h>

#include "loaders/synthetic/synthetic_checkpoint.h"
#include "tests/model/double_model.h"
#include "tests/support/layer_run.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

V4Config odd_config() {
  V4Config config = read_v4_config(tiny_flash_path() + "/config.json");
  config.sliding_window = 8;
  config.hidden_size = 192;
  config.q_lora_rank = 160;
  config.moe_intermediate_size = 96;
  config.o_lora_rank = 80;
  config.has_mtp = true;
  return config;
}

constexpr int kTokens = 140;  // complete one block of 128, and more blocks of 4 than the indexer keeps

struct Golden {
  DoubleModel::Values streams;  // into the layer
  DoubleModel::Layer layer;
  std::vector<bool> decided;  // tokens whose values do not depend on the order of a sum
};

// A number next to the tie of a rounding depends on the last bit of a sum, and changes its token and all those that
// look back on it. We recognise such tokens by adding noise.
class Fixture {
 public:
  Fixture() {
    write_synthetic_checkpoint(config_, folder_.path(), {});
    weights = open_checkpoint(folder_.path()).weights;
    for (int32_t i = 0; i < kTokens; ++i) ids.push_back((i * i * 37 + 11 * i + 5) % 512);
    const ModelFiles files = load_model_files(folder_.path());
    DoubleModel exact(config_, files);
    std::vector<DoubleModel> noisy;
    for (unsigned seed = 1; seed <= 4; ++seed) noisy.emplace_back(config_, files, seed);
    DoubleModel::Values streams = exact.embedded(ids);
    for (int layer = 0; layer <= config_.num_layers; ++layer) {
      Golden golden{streams, exact.run(layer, streams, ids), std::vector<bool>(kTokens, true)};
      for (DoubleModel& model : noisy) mark(golden, model.run(layer, streams, ids));
      streams = golden.layer.out;
      layers.push_back(std::move(golden));
    }
  }

  std::shared_ptr<const WeightSource> weights;
  std::vector<int32_t> ids;
  std::vector<Golden> layers;

 private:
  static void mark(Golden& golden, const DoubleModel::Layer& other) {
    const auto compare = [&](const DoubleModel::Values& a, const DoubleModel::Values& b) {
      std::vector<size_t> changed(kTokens);
      for (size_t i = 0; i < a.size(); ++i) changed[i * kTokens / a.size()] += a[i] != b[i];
      for (size_t t = 0; t < kTokens; ++t) {  // one or two that are rounded differently at the very end do not matter
        if (changed[t] * kTokens * 50 > a.size()) golden.decided[t] = false;
      }
    };
    compare(golden.layer.attn, other.attn);
    compare(golden.layer.ffn, other.ffn);
  }

  const TempFolder folder_;
  const V4Config config_ = odd_config();
};

class OddWidths : public testing::TestWithParam<std::string> {};

TEST_P(OddWidths, EachLayerKeepsItsBits) {
  static const Fixture fixture;
  for (size_t layer = 0; layer < fixture.layers.size(); ++layer) {
    const Golden& golden = fixture.layers[layer];
    const auto decided = std::count(golden.decided.begin(), golden.decided.end(), true);
    RecordProperty("decided" + std::to_string(layer), std::to_string(decided));
    EXPECT_GE(decided, kTokens / 4) << "layer " << layer;
    LayerRun run(fixture.weights, GetParam(), static_cast<int>(layer), kTokens);
    const std::vector<float> streams(golden.streams.begin(), golden.streams.end());
    run.run(streams, fixture.ids);
    const auto compare = [&](const std::string& output, const DoubleModel::Values& values) {
      const std::vector<float> got = run.output(output);
      ASSERT_EQ(got.size(), values.size());
      size_t same = 0, all = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        if (!golden.decided[i * kTokens / got.size()]) continue;
        ++all;
        same += got[i] == static_cast<float>(values[i]);
      }
      const double share = static_cast<double>(same) / static_cast<double>(all);
      RecordProperty(output + std::to_string(layer), std::to_string(share));
      EXPECT_GE(share, 0.995) << "layer " << layer << " " << output;
    };
    compare("attn", golden.layer.attn);
    compare("ffn", golden.layer.ffn);
    compare("out", golden.layer.out);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OddWidths, testing::ValuesIn(built_in_backends()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace v4rt
