// The promise of the runtime: the same bits from every backend, for every split of a prompt, whatever shares the step.

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "tests/support/models.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

std::vector<int32_t> random_ids(size_t n, int64_t vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
  return ids;
}

struct Outcome {
  std::vector<float> logits;
  Snapshot state;
};

// Feeds `ids` in pieces of the given sizes (the last repeats).
Outcome feed_split(const std::shared_ptr<const Model>& model, std::span<const int32_t> ids,
                   std::span<const size_t> pieces) {
  Session session(model);
  Outcome outcome;
  size_t at = 0, piece = 0;
  while (at < ids.size()) {
    const size_t n = std::min(pieces[std::min(piece++, pieces.size() - 1)], ids.size() - at);
    const auto logits = session.feed(ids.subspan(at, n));
    outcome.logits.assign(logits.begin(), logits.end());
    at += n;
  }
  outcome.state = session.snapshot();
  return outcome;
}

class Invariance : public testing::TestWithParam<std::tuple<std::string, NumberMode>> {};

TEST_P(Invariance, AnySplitGivesTheSameBits) {
  const auto& [device, mode] = GetParam();
  const auto model = open_model(mini_path(), {.device = device, .numbers = mode, .chunk = 64, .context = 400});
  // Lengths around the window, the ratios and the index top-k.
  for (const size_t length : {3u, 5u, 63u, 65u, 128u, 131u, 300u}) {
    const auto ids = random_ids(length, model->config().vocab_size, static_cast<uint32_t>(length));
    const size_t whole[] = {length}, ones[] = {1}, sevens[] = {7}, uneven[] = {1, 4, 63, 2, 130, 11};
    const Outcome expected = feed_split(model, ids, whole);
    for (const auto pieces :
         {std::span<const size_t>(ones), std::span<const size_t>(sevens), std::span<const size_t>(uneven)}) {
      const Outcome got = feed_split(model, ids, pieces);
      EXPECT_TRUE(got.logits == expected.logits) << "length " << length << ", first piece " << pieces[0];
      EXPECT_TRUE(got.state.bytes == expected.state.bytes) << "length " << length << ", first piece " << pieces[0];
    }
  }
}

TEST_P(Invariance, SharingAStepChangesNothing) {
  const auto& [device, mode] = GetParam();
  const auto model =
      open_model(mini_path(), {.device = device, .numbers = mode, .chunk = 64, .context = 300, .slots = 3});
  const std::vector<int32_t> prompts[] = {random_ids(140, 2048, 1), random_ids(9, 2048, 2), random_ids(66, 2048, 3)};
  Session alone(model), together(model);
  for (int slot = 0; slot < 3; ++slot) {
    alone.feed(prompts[slot], slot);
    together.feed(prompts[slot], slot);
  }
  const int32_t next[] = {7, 8, 9};
  const std::vector<int32_t> more = random_ids(20, 2048, 4);
  const BatchItem items[] = {{2, std::span(next).subspan(0, 1)}, {0, more}, {1, std::span(next).subspan(2, 1)}};
  const auto logits = together.feed_batch(items);
  const std::vector<float> batch(logits.begin(), logits.end());
  for (size_t i = 0; i < 3; ++i) {
    const auto expected = alone.feed(items[i].tokens, items[i].slot);
    EXPECT_TRUE(
        std::equal(expected.begin(), expected.end(), batch.begin() + static_cast<ptrdiff_t>(i * expected.size())))
        << i;
    EXPECT_TRUE(alone.snapshot(items[i].slot).bytes == together.snapshot(items[i].slot).bytes) << i;
  }
}

// A copy of a checkpoint, on another disk or machine, accepts snapshots taken with the original.
TEST_P(Invariance, ASnapshotGoesOnOverACopyOfTheCheckpoint) {
  const auto& [device, mode] = GetParam();
  const auto open = [&device = device, &mode = mode](const std::string& path) {
    return open_model(path, {.device = device, .numbers = mode, .context = 300});
  };
  const TempFolder folder;
  std::filesystem::copy(mini_path(), folder.path(), std::filesystem::copy_options::recursive);
  Session here(open(mini_path())), there(open(folder.path()));
  here.feed(random_ids(130, 2048, 6));
  there.restore(here.snapshot());
  const std::vector<int32_t> more = random_ids(9, 2048, 7);
  const auto expected = here.feed(more), got = there.feed(more);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), got.begin(), got.end()));
  EXPECT_TRUE(here.snapshot().bytes == there.snapshot().bytes);
}

INSTANTIATE_TEST_SUITE_P(Devices, Invariance,
                         testing::Combine(testing::ValuesIn(built_in_backends()),
                                          testing::Values(NumberMode::kFaithful, NumberMode::kPlain)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + mode_name(std::get<1>(info.param));
                         });

class AcrossBackends : public testing::TestWithParam<std::tuple<std::string, NumberMode>> {};

TEST_P(AcrossBackends, LogitsAreTheSameBits) {
  const auto& [path, mode] = GetParam();
  std::vector<float> expected;
  for (const std::string& device : built_in_backends()) {
    const auto model =
        open_model(source_path(path), {.device = device, .numbers = mode, .chunk = 50, .context = 300, .mtp = true});
    Session session(model);
    const Scores scores = score_all(session, random_ids(220, model->config().vocab_size, 11));
    std::vector<float> got = scores.logits;
    got.insert(got.end(), scores.mtp.begin(), scores.mtp.end());
    if (expected.empty()) expected = got;
    EXPECT_TRUE(got == expected) << device;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, AcrossBackends,
                         testing::Combine(testing::Values("examples/models/v4-mini", "tests/data/tiny-flash"),
                                          testing::Values(NumberMode::kFaithful, NumberMode::kPlain)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) == "examples/models/v4-mini" ? "mini"
                                                                                                   : "tiny_flash") +
                                  "_" + mode_name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace v4rt
