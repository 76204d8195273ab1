#include "backend/kernel_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "backend/kernel_trial.h"
#include "backend/reference/reference_device.h"
#include "ops/core/log.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Kernel i does nothing, for milliseconds[i]; one of less than none fails.
class SleepyDevice final : public Device {
 public:
  struct Sleep final : Kernel {
    int milliseconds = 0;
  };
  struct SleepyQueue final : Queue {
    void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) override {
      std::copy(src.begin(), src.end(), dst.host() + offset);
    }
    void download(std::span<std::byte>, Buffer&, size_t) override {}
    void fill(Buffer& dst, std::byte value) override { std::fill_n(dst.host(), dst.bytes(), value); }
    void copy(Buffer&, size_t, Buffer&, size_t, size_t) override {}
    void begin(const Step&) override {}
    void launch(const Kernel& kernel, std::span<const Tensor>, const Step&) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(static_cast<const Sleep&>(kernel).milliseconds));
    }
    void finish() override {}
  };

  explicit SleepyDevice(std::vector<int> times, std::string driver = "driver 1") : milliseconds(std::move(times)) {
    info_.name = "sleepy";
    info_.description = std::move(driver);
  }
  const DeviceInfo& info() const override { return info_; }
  Support supports(const OpCall&) const override { return {}; }
  std::unique_ptr<Kernel> make(const OpCall&, int kernel) override {
    const int time = milliseconds[static_cast<size_t>(kernel)];
    check(time >= 0, Code::kDevice, "it does not build");
    auto sleep = std::make_unique<Sleep>();
    sleep->milliseconds = time;
    return sleep;
  }
  BufferPtr allocate(size_t bytes) override { return memory_->allocate(bytes); }
  std::unique_ptr<Queue> create_queue() override { return std::make_unique<SleepyQueue>(); }

  std::vector<int> milliseconds;

 private:
  DeviceInfo info_;
  std::shared_ptr<Device> memory_ = create_reference_device();
};

class KernelChoices : public testing::Test {
 public:
  KernelChoices() {
    std::filesystem::create_directories(folder_);
    log::set_sink([this](log::Level, std::string_view message) { notices_.emplace_back(message); });
  }
  ~KernelChoices() override {
    log::set_sink(nullptr);
    std::filesystem::remove_all(folder_);
  }

  Support choose(SleepyDevice& device, Fast use = Fast::kAuto, bool again = false) {
    FastOptions options{.use = use, .cache_dir = folder_.string(), .again = again, .measuring = {}};
    options.measuring = [this](std::string_view) { ++measured_; };
    measured_ = 0;
    notices_.clear();
    KernelChoice choice(device, options);
    const Linear op(DType::kF32);
    const TensorType inputs[] = {{DType::kF32, {4, 32}}, {DType::kF32, {16, 32}}};
    const auto outputs = op.infer(inputs);
    const KernelChoice::Candidate candidates[] = {
        {0, "sleepy.first", "First 1.0"}, {1, "sleepy.second", "Second 2.0"}, {2, "sleepy.exact", ""}};
    return choice.of({op, inputs, outputs}, candidates);
  }

  // The one file of measurements.
  std::filesystem::path kept() const { return std::filesystem::directory_iterator(folder_)->path(); }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("v4rt-test-choices-" + std::to_string(getpid()));
  std::vector<std::string> notices_;
  int measured_ = 0;
};

TEST_F(KernelChoices, TakesTheFastestAndSaysWhy) {
  SleepyDevice second({9, 2, 4});
  const Support faster = choose(second);
  EXPECT_EQ(faster.kernel, 1);
  EXPECT_THAT(faster.reason, StartsWith("Second 2.0 for linear f32 [4, 32] x f32 [16, 32]: "));
  EXPECT_THAT(faster.reason, HasSubstr("First 1.0 takes "));
  EXPECT_THAT(faster.reason, HasSubstr("sleepy.exact takes "));
  std::filesystem::remove(kept());
  SleepyDevice exact({9, 4, 2});
  const Support slower = choose(exact);
  EXPECT_EQ(slower.kernel, 2);
  EXPECT_THAT(slower.reason, StartsWith("exact for linear"));
}

TEST_F(KernelChoices, AlwaysIsTheFirstUnmeasured) {
  SleepyDevice device({9, 2, 1});
  EXPECT_EQ(choose(device, Fast::kAlways).kernel, 0);
  EXPECT_EQ(measured_, 0);
}

TEST_F(KernelChoices, WhatFailsIsNotTakenAndNamed) {
  SleepyDevice device({-1, 9, 2});
  const Support support = choose(device);
  EXPECT_EQ(support.kernel, 2);
  EXPECT_THAT(support.reason, HasSubstr("First 1.0 failed"));
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_THAT(notices_[0], HasSubstr("it does not build"));
  EXPECT_THAT(choose(device).reason, HasSubstr("First 1.0 failed"));  // which is kept as well
  EXPECT_EQ(measured_, 0);
}

TEST_F(KernelChoices, AreKept) {
  SleepyDevice device({9, 2, 4});
  const std::string reason = choose(device).reason;
  EXPECT_EQ(measured_, 3);
  EXPECT_EQ(choose(device).reason, reason);
  EXPECT_EQ(measured_, 0);
  EXPECT_TRUE(notices_.empty());
  device.milliseconds = {2, 9, 4};
  EXPECT_EQ(choose(device, Fast::kAuto, true).kernel, 0);
  EXPECT_EQ(measured_, 3);
  EXPECT_EQ(choose(device).kernel, 0);
}

TEST_F(KernelChoices, ThoseOfAnotherDriverAreNotUsed) {
  SleepyDevice before({9, 2, 4}), after({2, 9, 4}, "driver 2");
  choose(before);
  EXPECT_EQ(choose(after).kernel, 0);
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_THAT(notices_[0], HasSubstr("taken with driver 1"));
  EXPECT_EQ(choose(after).kernel, 0);
  EXPECT_EQ(measured_, 0);
}

TEST_F(KernelChoices, DamagedOnesAreMeasuredAgain) {
  SleepyDevice device({30, 2, 20});
  choose(device);
  const std::string path = kept().string();
  for (const std::streamoff at : {0, 40, 200}) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char old = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(old ^ 1));
    file.close();
    EXPECT_EQ(choose(device).kernel, 1) << at;
    EXPECT_EQ(measured_, 3) << at;
    EXPECT_EQ(notices_.size(), 1u) << at;
  }
  std::filesystem::resize_file(path, 20);
  EXPECT_EQ(choose(device).kernel, 1);
  EXPECT_EQ(measured_, 3);
}

// What stands for a call: as many rows for each weight, of less memory.
TEST(KernelSample, OfManyRowsAndManyExperts) {
  const Linear linear(DType::kBF16, 1);
  const TensorType dense[] = {{DType::kBF16, {2048, 4096}}, {DType::kBF16, {129280, 4096}}};
  const auto out = linear.infer(dense);
  const SampleCall wide = sample_of({linear, dense, out});
  EXPECT_EQ(to_string(wide.inputs[0]), "bf16 [512, 4096]");
  EXPECT_EQ(to_string(wide.inputs[1]), "bf16 [8080, 4096]");
  EXPECT_EQ(to_string(wide.outputs[0]), "bf16 [512, 8080]");

  const MoeGateUp gate_up(10.0f);
  const TensorType stack{DType::kFp4, {256, 2048, 4096}};
  const TensorType sparse[] = {
      {DType::kBF16, {2048, 4096}}, {DType::kI32, {2048, 6}}, {DType::kF32, {2048, 6}}, stack, stack};
  const auto inner = gate_up.infer(sparse);
  const SampleCall experts = sample_of({gate_up, sparse, inner});
  EXPECT_EQ(experts.text, "moe_gate_up bf16 [128, 4096] x fp4 [16, 2048, 4096]");
  EXPECT_EQ(to_string(experts.inputs[1]), "i32 [128, 6]");
}

}  // namespace
}  // namespace v4rt
