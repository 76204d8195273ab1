// Which form the kernels of an OpenCL device take: what is measured in other processes, and kept.

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>

#include "backend/opencl/child.h"
#include "backend/opencl/lanes_trial.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

LanesTrials trials(Lanes usual, LanesTrial vector, LanesTrial work_items) { return {usual, vector, work_items}; }
LanesTrial took(double one, double many) { return {.one = one, .many = many, .problem = ""}; }

TEST(LanesChoice, IsTheFasterOneWhereThatIsClear) {
  for (const Lanes usual : {Lanes::kVector, Lanes::kWorkItems}) {
    const LanesChoice faster = choose_lanes(trials(usual, took(1, 2), took(3, 4)));
    EXPECT_EQ(faster.lanes, Lanes::kVector);
    EXPECT_THAT(faster.why, HasSubstr("on work-items a product of one token takes 3.00 times as long"));
    EXPECT_THAT(faster.why, HasSubstr("one of 32 tokens 2.00 times"));
    EXPECT_EQ(choose_lanes(trials(usual, took(3, 4), took(1, 2))).lanes, Lanes::kWorkItems);
    EXPECT_EQ(choose_lanes(trials(usual, took(1.1, 1), took(1, 1.1))).lanes, usual);
    const LanesChoice many = choose_lanes(trials(usual, took(0, 3), took(0, 1)));
    EXPECT_EQ(many.lanes, Lanes::kWorkItems);
    EXPECT_EQ(many.why, "measured: on vector lanes a product of 32 tokens takes 3.00 times as long");
  }
}

TEST(LanesChoice, AFormThatFailsIsNotTaken) {
  const LanesTrial bad{.problem = "no end within 20.0 s"};
  for (const Lanes usual : {Lanes::kVector, Lanes::kWorkItems}) {
    EXPECT_EQ(choose_lanes(trials(usual, bad, took(1, 1))).lanes, Lanes::kWorkItems);
    const LanesChoice choice = choose_lanes(trials(usual, took(9, 9), bad));
    EXPECT_EQ(choice.lanes, Lanes::kVector);
    EXPECT_THAT(choice.why, HasSubstr("on work-items there was no end within 20.0 s"));
    EXPECT_EQ(choose_lanes(trials(usual, bad, bad)).lanes, usual);
  }
}

TEST(LanesChoice, IsKeptByDevice) {
  const TemporaryDirectory folder;
  LanesTrials some = trials(Lanes::kVector, took(1e-5, 0.25), {.problem = "a crash (signal 11)", .crashed = true});
  const DeviceInfo device{.name = "opencl:0", .description = "a device", .features = {"max_group_64", "fp64"}};
  keep_trials(folder.path(), device, some);
  DeviceInfo another = device;
  another.description = "another";
  EXPECT_FALSE(kept_trials(folder.path(), another).has_value());
  DeviceInfo smaller = device;
  smaller.features = {"max_group_32", "fp64"};
  EXPECT_FALSE(kept_trials(folder.path(), smaller).has_value()) << "its kernels are others";
  EXPECT_FALSE(kept_trials("", device).has_value());
  const auto kept = kept_trials(folder.path(), device);
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(kept->usual, Lanes::kVector);
  EXPECT_EQ(kept->vector.one, 1e-5);
  EXPECT_EQ(kept->vector.many, 0.25);
  EXPECT_FALSE(kept->vector.crashed);
  EXPECT_EQ(kept->work_items.problem, "a crash (signal 11)");
  EXPECT_TRUE(kept->work_items.crashed);
  ASSERT_EQ(folder.files().size(), 1u);
  std::ofstream(folder.files()[0], std::ios::app) << "x";
  EXPECT_FALSE(kept_trials(folder.path(), device).has_value()) << "damaged";
}

// A child that greets, hears which form it is to try, and does what is said for either.
std::vector<std::string> child(const std::string& on_vector, const std::string& on_work_items) {
  const std::string say =
      "say() { printf \"\\\\$(printf %o ${#1})\\\\0\\\\0\\\\0\\\\0\\\\0\\\\0\\\\0%s\" \"$1\" >&0; }; ";
  return {"/bin/sh", "-c",
          say + "say v4rt; head -c 19 <&0 >/dev/null; form=$(head -c 10 <&0 | tr -d '\\0'); case $form in vector*) " +
              on_vector + ";; *) " + on_work_items + ";; esac"};
}
// It takes so many seconds with many tokens, and 0.5 with one, each a bit longer the first time.
std::string answers(int many = 2) {
  return fmt::format(
      "for t in {} 0.5; do say r; for more in 1 '' ''; do head -c 11 <&0 >/dev/null; say \"t$t$more\"; done; head -c "
      "11 "
      "<&0 >/dev/null; done",
      many);
}

std::vector<std::unique_ptr<Child>> waiting;  // after tried()
std::optional<LanesTrials> tried(const std::vector<std::string>& command, Lanes usual,
                                 std::chrono::milliseconds patience = std::chrono::minutes(1)) {
  waiting.clear();
  return try_lanes(command, usual, waiting, patience);
}

TEST(LanesTrial, BothAreMeasured) {
  const auto done = tried(child("sleep 0.1; " + answers(2), answers(4)), Lanes::kVector);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->vector.many, 2) << "the least";
  EXPECT_EQ(done->work_items.many, 4);
  for (const Lanes lanes : {Lanes::kVector, Lanes::kWorkItems}) {
    EXPECT_EQ(done->of(lanes).problem, "");
    EXPECT_EQ(done->of(lanes).one, 0.5);
  }
  EXPECT_EQ(waiting.size(), 2u);
}

TEST(LanesTrial, OneTokenIsNotMeasuredWhereManyTellThemApart) {
  const auto done = tried(child(answers(6), answers(2)), Lanes::kVector);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->vector.many, 6);
  EXPECT_EQ(done->vector.one, 0);
  EXPECT_EQ(done->work_items.one, 0);
  EXPECT_EQ(choose_lanes(*done).lanes, Lanes::kWorkItems);
  EXPECT_EQ(waiting.size(), 2u);
}

TEST(LanesTrial, OneThatCrashesOrHangsIsNamedAndTheOtherTaken) {
  const auto crash = tried(child("say 'sf of a test'; kill -SEGV $$", answers()), Lanes::kVector);
  ASSERT_TRUE(crash.has_value());
  EXPECT_TRUE(crash->vector.crashed);
  EXPECT_THAT(crash->vector.problem, HasSubstr("a crash (signal 11, Segmentation fault, f of a test)"));
  EXPECT_EQ(choose_lanes(*crash).lanes, Lanes::kWorkItems);
  EXPECT_EQ(waiting.size(), 1u);

  const auto hang =
      tried(child(answers(), "say 'sg of a test'; sleep 600"), Lanes::kWorkItems, std::chrono::milliseconds(600));
  ASSERT_TRUE(hang.has_value());
  EXPECT_THAT(hang->work_items.problem, HasSubstr("s (g of a test)"));
  EXPECT_FALSE(hang->work_items.crashed);
  EXPECT_EQ(choose_lanes(*hang).lanes, Lanes::kVector);

  const auto error = tried(child("say pbad", answers()), Lanes::kVector);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->vector.problem, "an error: bad");
}

TEST(LanesTrial, WithoutAProcessNothingIsKnown) {
  for (const char* command : {"/bin/true", "/nowhere/v4rt"}) EXPECT_FALSE(tried({command}, Lanes::kVector).has_value());
}

TEST(LanesTrial, ACrashIsRememberedUntilTheCacheIsCleared) {
  if (find_opencl_sites().sites.empty()) GTEST_SKIP() << "no OpenCL device";
  const TemporaryDirectory cache;
  const auto error_with = [&](const std::vector<std::string>& compiler, std::optional<Lanes> lanes) {
    try {
      create_opencl_device({}, cache.path(), lanes, {}, {}, compiler);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string crash = "kill -ABRT $$";
  EXPECT_THAT(error_with(child(crash, crash), {}),
              HasSubstr("its driver ended the process that tried its kernels on vector lanes: a crash (signal 6"));
  EXPECT_THAT(error_with({}, {}), HasSubstr("'v4rt cache clear'")) << "it is not tried again";
  for (const auto& file : cache.files()) std::filesystem::remove(file);
  std::vector<std::string> problems;
  const DeviceInfo listed = list_opencl_devices(problems).front();
  keep_trials(cache.path(), listed, trials(Lanes::kVector, took(1, 1), {.problem = "a crash", .crashed = true}));
  EXPECT_EQ(error_with({}, {}), "");
  EXPECT_THAT(error_with({}, Lanes::kWorkItems), HasSubstr("on work-items: a crash")) << "though it was asked for";
}

TEST(LanesTrial, TheFormIsThatOfTheDeviceAndOfTheList) {
  if (find_opencl_sites().sites.empty()) GTEST_SKIP() << "no OpenCL device";
  const TemporaryDirectory cache;
  std::vector<std::string> problems;
  const DeviceInfo listed = list_opencl_devices(problems).front();
  for (const Lanes faster : {Lanes::kVector, Lanes::kWorkItems}) {
    const bool vector = faster == Lanes::kVector;
    keep_trials(cache.path(), listed, trials(Lanes::kVector, took(vector ? 1 : 2, 0), took(vector ? 2 : 1, 0)));
    const auto device = std::dynamic_pointer_cast<OpenclDevice>(create_opencl_device({}, cache.path()));
    EXPECT_EQ(device->capabilities().lanes, faster);
    EXPECT_EQ(list_opencl_devices(problems, cache.path()).front().features, device->info().features);
  }
}

// A part of a device has fewer compute units: what was measured on all of it says nothing of the part.
TEST(LanesTrial, APartIsMeasuredByItself) {
  if (find_opencl_sites().sites.empty() || parts_of(find_opencl_sites().sites[0]).empty())
    GTEST_SKIP() << "no OpenCL device that can be divided";
  const TemporaryDirectory cache;
  const auto info = [&](const OpenclName& name) { return create_opencl_device(name, cache.path())->info(); };
  const DeviceInfo whole = info({}), part = info({0, 0});
  EXPECT_NE(whole.description, part.description);
  keep_trials(cache.path(), whole, trials(Lanes::kVector, took(2, 0), took(1, 0)));
  EXPECT_TRUE(kept_trials(cache.path(), whole));
  EXPECT_FALSE(kept_trials(cache.path(), part));
  EXPECT_EQ(info({0, 0}).features, part.features) << "the usual one";
}

}  // namespace
}  // namespace v4rt
