#include "graph/runtime/synthetic_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "ops/core/hash.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

class SyntheticState : public ::testing::TestWithParam<NumberMode> {
 protected:
  std::shared_ptr<const Model> open(ModelOptions options = tiny_options()) const {
    options.numbers = GetParam();
    return Model::open(tiny_weights(), options);
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, SyntheticState, ::testing::Values(NumberMode::kFaithful, NumberMode::kPlain),
                         [](const auto& p) { return p.param == NumberMode::kPlain ? "plain" : "faithful"; });

TEST_P(SyntheticState, DecodingGoesOnFromAnyPosition) {
  const auto model = open();
  const std::vector<int32_t> ids = tiny_ids(64);
  for (const int64_t position : {0, 1, 3, 4, 11, 20, 40, 63}) {
    Session session(model);
    fill_synthetic_state(session, position);
    EXPECT_EQ(session.position(), position);
    const auto rest = std::span(ids).subspan(static_cast<size_t>(position));
    for (const int32_t id : rest) {
      for (const float logit : session.feed({&id, 1})) ASSERT_TRUE(std::isfinite(logit)) << position;
    }
    EXPECT_EQ(session.position(), 64);
  }
}

TEST_P(SyntheticState, IsTheSameForTheSameSeedWhateverWasThereBefore) {
  const auto model = open();
  Session fresh(model), used(model);
  used.feed(tiny_ids(50));
  fill_synthetic_state(fresh, 21, 7);
  fill_synthetic_state(used, 21, 7);
  const Snapshot expected = fresh.snapshot();
  EXPECT_TRUE(used.snapshot().bytes == expected.bytes);
  fill_synthetic_state(used, 21, 8);
  EXPECT_FALSE(used.snapshot().bytes == expected.bytes);
}

TEST_P(SyntheticState, ChangesOneSequenceOnly) {
  ModelOptions options = tiny_options();
  options.slots = 2;
  Session session(open(options));
  session.feed(tiny_ids(9), 0);
  const Snapshot other = session.snapshot(0);
  fill_synthetic_state(session, 30, 1, 1);
  EXPECT_TRUE(session.snapshot(0).bytes == other.bytes);
  EXPECT_EQ(session.position(0), 9);
  EXPECT_EQ(session.position(1), 30);
}

TEST_P(SyntheticState, NeedsAContextThatHoldsIt) {
  Session session(open());
  EXPECT_THROW(fill_synthetic_state(session, 65), Error);
  EXPECT_THROW(fill_synthetic_state(session, -1), Error);
  EXPECT_EQ(session.position(), 0);
}

TEST_P(SyntheticState, FillsTheMtpBlockToo) {
  ModelOptions options = tiny_options();
  options.mtp = true;
  Session session(open(options));
  fill_synthetic_state(session, 20);
  EXPECT_EQ(session.position(), 20);
}

// In plain mode every row is F32, so that live numbers can be counted: at position 21 the windows' last 3 rows of 8 in
// three layers, ratio 4: 5 pending rows of 32 (of its own block and the one before) and 5 entries of 8, twice; ratio 8:
// 5 pending rows of 16 and 2 entries of 8.
TEST(SyntheticRows, AreStandardNormalWhereTheyAreLive) {
  ModelOptions options = tiny_options();
  options.numbers = NumberMode::kPlain;
  Session session(Model::open(tiny_weights(), options));
  fill_synthetic_state(session, 21);
  const Snapshot snapshot = session.snapshot();
  double live = 0, sum = 0, squares = 0;
  const SnapshotReader reader(snapshot.bytes);
  for (const SnapshotReader::State& state : reader.states()) {
    for (size_t at = 0; at < state.bytes.size(); at += 4) {
      float value = 0;
      std::memcpy(&value, state.bytes.data() + at, 4);
      live += value != 0;
      sum += value;
      squares += double{value} * value;
    }
  }
  EXPECT_EQ(live, 3 * 3 * 8 + 2 * (5 * 32 + 5 * 8) + 5 * 16 + 2 * 8);
  EXPECT_NEAR(sum / live, 0, 0.15);
  EXPECT_NEAR(squares / live, 1, 0.15);
}

TEST(StepTimes, AreHandedOverForEveryStepAndChangeNothing) {
  const auto model = Model::open(tiny_weights(), tiny_options());
  const std::vector<int32_t> ids = tiny_ids(15);  // two chunks of seven and one token
  Session session(model);
  const std::vector<float> expected = copy_of(session.feed(ids));

  std::vector<int32_t> rows;
  session.reset();
  session.on_step_times([&](const Plan& plan, const Step& step, std::span<const double> seconds) {
    rows.push_back(step.n_rows());
    EXPECT_EQ(&plan, &model->plan(step.n_rows(), LogitsOf::kLastRows));
    ASSERT_EQ(seconds.size(), plan.steps.size());
    for (const double s : seconds) EXPECT_GE(s, 0);
    EXPECT_GT(*std::max_element(seconds.begin(), seconds.end()), 0);
  });
  EXPECT_EQ(copy_of(session.feed(ids)), expected);
  EXPECT_EQ(rows, (std::vector<int32_t>{7, 7, 1}));

  session.on_step_times(nullptr);
  session.feed(ids);
  EXPECT_EQ(rows.size(), 3u);
}

}  // namespace
}  // namespace v4rt
