// The memory that opening a model is said to take is what it and a session take, on every backend; and nothing else.
// What does not fit on a device runs on the next, with the same bits.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "graph/runtime/generate.h"
#include "graph/runtime/synthetic_state.h"
#include "ops/core/host.h"
#include "tests/support/counting_device.h"
#include "tests/support/models.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

class Memory : public testing::TestWithParam<std::string> {};

TEST_P(Memory, IsWhatWasSaid) {
  const auto count = std::make_shared<Count>();
  ModelOptions options{.device = GetParam(), .context = 300, .reserve = 20, .chunk = 16, .slots = 2};
  options.find_device = [&](std::string_view name) {
    return std::make_shared<CountingDevice>(create_device(name), count);
  };
  const auto weights = open_checkpoint(mini_path()).weights;
  const auto needs = Model::memory_needed(weights, options);
  EXPECT_EQ(count->most, 0u) << "planning allocates nothing";
  ASSERT_EQ(needs.size(), 1u);
  const MemoryNeed& need = needs[0].need;

  const auto model = Model::open(weights, options);
  EXPECT_EQ(count->live, need.weights);
  Session session(model);
  const size_t together = need.weights + need.states + need.arena + need.io;
  const bool grows = state_memory(*options.find_device(GetParam())) == StateMemory::kExtents;
  EXPECT_EQ(count->live < together, grows);
  std::vector<int32_t> prompt(200, 17);
  Sampler greedy({}, model->config().vocab_size);
  generate(session, prompt, {.max_tokens = 100}, greedy, {});
  EXPECT_EQ(count->live < together, grows);
  session.feed(std::vector<int32_t>(300, 17), 1);
  EXPECT_EQ(count->live, together);
  EXPECT_EQ(count->largest, need.largest);
  EXPECT_LE(count->most, need.total());
}

// What copies go through, where the device's memory is not the host's, is the host's.
TEST(MemoryOfTheHost, CountsWhatCopiesGoThrough) {
  const auto weights = open_checkpoint(mini_path()).weights;
  for (const std::string& device : built_in_backends()) {
    ModelOptions options{.device = device, .context = 300, .chunk = 16};
    const size_t pinned = device == "opencl" ? size_t{8} << 20 : 0;
    options.device_options.own_memory = true;
    const MemoryNeed need = Model::memory_needed(weights, options)[0].need;
    EXPECT_EQ(need.pinned, pinned) << device;
    EXPECT_EQ(need.total(), std::max(need.staging, need.states + need.growth + need.arena + need.io) + need.weights);
    if (pinned == 0) continue;
    options.memory = pinned - 1;
    try {
      Model::open(weights, options);
      ADD_FAILURE() << "more than it may";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::kOutOfMemory) << e.what();
    }
    options.memory = pinned * 2;
    EXPECT_NO_THROW(Model::open(weights, options));
  }
}

// A fork takes what it does not share: rings, and what is less than an extent.
TEST(MemoryOfForks, IsThatOfTheirRings) {
  V4Config config = tiny_config();
  config.max_position = 200000;
  config.head_dim = config.index_head_dim = 64;
  for (const std::string& device : built_in_backends()) {
    // One thread: another would come to use its own working memory at any time.
    ModelOptions options{
        .device = device, .device_options = {.threads = 1}, .context = 200000, .chunk = 64, .slots = 4};
    const auto count = std::make_shared<Count>();
    const bool counted = state_memory(*create_device(device)) == StateMemory::kExtents;
    if (counted)
      options.find_device = [&](std::string_view name) {
        return std::make_shared<CountingDevice>(create_device(name), count);
      };
    const auto taken = [&] { return counted ? count->live : process_memory(); };
    const auto model = Model::open(tiny_weights(config), options);
    Session session(model);
    fill_synthetic_state(session, 100000);
    const Snapshot snapshot = session.snapshot();
    const std::vector<float> expected = copy_of(session.feed(tiny_ids(6)));
    session.rewind(6);
    const size_t before = taken();
    for (int slot = 1; slot < 4; ++slot) {
      session.fork(0, slot);
      EXPECT_EQ(copy_of(session.feed(tiny_ids(6), slot)), expected);
    }
    EXPECT_LT(taken(), before + 3 * snapshot.bytes.size() / 20) << device;
    EXPECT_TRUE(session.snapshot().bytes == snapshot.bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Memory, testing::ValuesIn(built_in_backends()),
                         [](const auto& info) { return info.param; });

// A device with memory of its own, beside the cpu.
class LimitedDevice {
 public:
  explicit LimitedDevice(const std::string& kind)
      : count_(std::make_shared<Count>()),
        limited_(std::make_shared<CountingDevice>(create_device(kind), count_, "limited")),
        cpu_(create_device("cpu", {.threads = 2})) {}

  ModelOptions options() const {
    ModelOptions options{.device = "limited", .place = {{"*", "limited"}, {"*", "cpu"}}, .context = 128, .chunk = 16};
    options.find_device = [this](std::string_view name) { return name == "cpu" ? cpu_ : limited_; };
    return options;
  }

  Count& count() const { return *count_; }

 private:
  std::shared_ptr<Count> count_;
  std::shared_ptr<Device> limited_, cpu_;
};

std::vector<float> logits_after(const std::shared_ptr<const Model>& model, size_t tokens) {
  Session session(model);
  const std::vector<int32_t> prompt(tokens, 17);
  const auto logits = session.feed(prompt);
  return {logits.begin(), logits.end()};
}

int64_t launches_on(const Model& model, int device) {
  return std::ranges::count_if(model.plan(1, LogitsOf::kLastRows).steps, [&](const PlanStep& step) {
    const auto* launch = std::get_if<Launch>(&step);
    return launch != nullptr && launch->device == device;
  });
}

void expect_same_bits_within_limits(const std::string& kind, int limits) {
  const LimitedDevice device(kind);
  ModelOptions options = device.options();
  const auto weights = open_checkpoint(mini_path()).weights;
  const MemoryNeed need = Model::memory_needed(weights, options)[0].need;
  const size_t one_layer = need.arena + need.io + (need.weights + need.states) / 5;
  const std::vector<float> expected = logits_after(Model::open(weights, options), 90);
  std::mt19937 random(77);
  for (int i = 0; i < limits; ++i) {
    const size_t limit = one_layer + random() % (need.total() - one_layer);
    SCOPED_TRACE(limit);
    device.count() = {};
    options.device_memory = {{"limited", limit}};
    const auto model = Model::open(weights, options);
    ASSERT_EQ(logits_after(model, 90), expected);
    EXPECT_LE(device.count().most, limit);
    EXPECT_GT(launches_on(*model, 0), 20);
    EXPECT_GT(launches_on(*model, 1), 0);
    EXPECT_THAT(model->plan(1, LogitsOf::kLastRows).refusals,
                testing::AllOf(testing::Not(testing::IsEmpty()),
                               testing::Each(testing::AllOf(testing::StartsWith("limited has no room for "),
                                                            testing::EndsWith("; placed on cpu")))));
  }
}

TEST(MemoryLimit, MovesToTheNextDeviceWhatDoesNotFit) { expect_same_bits_within_limits("cpu", 40); }

TEST(MemoryLimit, HoldsForEveryBackend) {
  for (const std::string& backend : built_in_backends()) expect_same_bits_within_limits(backend, 2);
}

// First what a token reads little of, then whole layers, the last first.
TEST(MemoryLimit, MovesExpertsBeforeLayers) {
  const LimitedDevice device("cpu");
  ModelOptions options = device.options();
  const auto weights = open_checkpoint(mini_path()).weights;
  const size_t all = Model::memory_needed(weights, options)[0].need.total();
  const auto moved = [&](size_t limit) {
    options.device_memory = {{"limited", limit}};
    return Model::open(weights, options)->plan(1, LogitsOf::kLastRows).refusals;
  };
  EXPECT_THAT(moved(all), testing::IsEmpty());
  EXPECT_THAT(moved(all - 1), testing::ElementsAre(testing::HasSubstr("no room for L04.ffn.experts.*: it takes ")));
  EXPECT_THAT(moved(all / 2), testing::Contains(testing::HasSubstr("no room for head: it takes 512.0 KiB, and ")));
  options.chunk = 0;  // working memory gets smaller first
  EXPECT_THAT(moved(all * 3 / 4), testing::Not(testing::Contains(testing::HasSubstr("L00.*"))));
}

TEST(MemoryLimit, WithoutADeviceThatHasRoomIsAnErrorWithTheFigures) {
  const LimitedDevice device("cpu");
  ModelOptions options = device.options();
  options.place.clear();
  options.device_memory = {{"limited", 1 << 20}};
  try {
    Model::open(open_checkpoint(mini_path()).weights, options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::kOutOfMemory);
    EXPECT_THAT(e.what(), testing::HasSubstr("are more than the 1.00 MiB of limited"));
  }
  EXPECT_EQ(device.count().most, 0u);
}

}  // namespace
}  // namespace v4rt
