#include "backend/cpu/cpu_device.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "ops/layout/repack.h"
#include "ops/linear/linear.h"
#include "ops/norm/norm.h"

namespace v4rt {
namespace {

uintptr_t address(const Buffer& buffer) { return reinterpret_cast<uintptr_t>(buffer.host()); }

TEST(CpuDevice, DescribesItself) {
  const auto device = create_cpu_device(3);
  EXPECT_EQ(device->info().name, "cpu");
  EXPECT_NE(device->info().description.find("3 threads"), std::string::npos) << device->info().description;
  EXPECT_FALSE(device->info().features.empty());
  EXPECT_EQ(device->info().alignment, 64u);
  EXPECT_GT(device->info().memory, size_t{1} << 20);
  EXPECT_NE(create_cpu_device(1)->info().description.find("1 thread,"), std::string::npos);
}

TEST(CpuDevice, AllocatesAlignedMemory) {
  const auto device = create_cpu_device(1);
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{4096}, (size_t{16} << 20) + 5}) {
    const BufferPtr buffer = device->allocate(bytes);
    EXPECT_EQ(buffer->bytes(), bytes);
    EXPECT_EQ(address(*buffer) % 64, 0u);
    if (bytes != 0) std::memset(buffer->host(), 1, bytes);
  }
  EXPECT_THROW((void)device->allocate(SIZE_MAX - 100), Error);
  EXPECT_THROW((void)device->allocate(SIZE_MAX / 4), Error);
}

TEST(CpuDevice, SlicesShareMemoryAndOutliveTheirParent) {
  const auto device = create_cpu_device(1);
  BufferPtr part;
  {
    const BufferPtr whole = device->allocate(256);
    part = whole->slice(64, 64);
    whole->host()[64] = std::byte{7};
  }
  EXPECT_EQ(part->host()[0], std::byte{7});
  EXPECT_THROW((void)part->slice(32, 64), Error);
}

TEST(CpuDevice, ImportsWithoutCopying) {
  const auto device = create_cpu_device(1);
  alignas(64) std::byte memory[128] = {};
  const BufferPtr view = device->import_host(memory);
  ASSERT_NE(view, nullptr);
  EXPECT_EQ(view->host(), memory);
  EXPECT_EQ(device->import_host(std::span(memory).subspan(1)), nullptr);
}

TEST(CpuDevice, QueueMovesBytes) {
  const auto device = create_cpu_device(1);
  const auto queue = device->create_queue();
  const BufferPtr buffer = device->allocate(64);
  queue->fill(*buffer, std::byte{9});
  const std::byte in[2] = {std::byte{1}, std::byte{2}};
  queue->upload(*buffer, 10, in);
  std::byte out[4];
  queue->download(out, *buffer, 9);
  EXPECT_EQ(out[0], std::byte{9});
  EXPECT_EQ(out[1], std::byte{1});
  EXPECT_EQ(out[2], std::byte{2});
  EXPECT_EQ(out[3], std::byte{9});
}

TEST(CpuDevice, WantsMatricesInterleaved) {
  const auto device = create_cpu_device(1);
  for (DType dtype : {DType::kFp4, DType::kFp8, DType::kBF16, DType::kF16, DType::kF32}) {
    EXPECT_EQ(device->weight_layout({dtype, {64, 128}}), Layout::kRows16);
    EXPECT_EQ(device->weight_layout({dtype, {4, 64, 128}}), Layout::kRows16);
  }
  EXPECT_EQ(device->weight_layout({DType::kF32, {64}}), Layout::kRows);
  EXPECT_EQ(device->weight_layout({DType::kI32, {64, 6}}), Layout::kRows);
}

TEST(CpuDevice, RefusesWithAReason) {
  const auto device = create_cpu_device(1);
  const Linear linear(DType::kF32);
  const TensorType in[] = {{DType::kF32, {1, 32}}, {DType::kF32, {16, 32}}};
  const auto out = linear.infer(in);
  const Support support = device->supports({linear, in, out});
  EXPECT_FALSE(support);
  EXPECT_NE(support.reason.find("rows16"), std::string::npos) << support.reason;
  try {
    (void)device->compile({linear, in, out});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("linear"), std::string::npos) << error.what();
  }
}

TEST(CpuDevice, NamesItsKernels) {
  const auto device = create_cpu_device(1);
  const RmsNorm norm(1e-6f);
  const TensorType in[] = {{DType::kF32, {2, 32}}, {DType::kF32, {32}}};
  const auto out = norm.infer(in);
  EXPECT_EQ(device->compile({norm, in, out})->name, "cpu.rms_norm");
}

// y = x w^T on one device, from any thread.
class Product {
 public:
  explicit Product(Device& device) : queue_(device.create_queue()) {
    const TensorType x{DType::kF32, {kTokens, kWidth}}, w{DType::kF32, {kOutputs, kWidth}, Layout::kRows16};
    const TensorType in[] = {x, w};
    const Linear linear(DType::kF32);
    const auto out = linear.infer(in);
    kernel_ = device.compile({linear, in, out});
    std::mt19937 random(1);
    for (const TensorType& type : {x, w, out[0]}) {
      args_.push_back({type, device.allocate(type.bytes()), nullptr});
      for (size_t i = 0; i < type.bytes() / 4; ++i)
        args_.back().data<float>()[i] = static_cast<float>(random() % 1000) / 1000.0f;
    }
    args_.push_back({{DType::kU8, {static_cast<int64_t>(kernel_->scratch_bytes)}},
                     device.allocate(kernel_->scratch_bytes),
                     nullptr});
  }

  std::vector<float> run() {
    const Segment segment{0, 0, kTokens};
    std::vector<Row> rows(kTokens);
    fill_rows(std::span(&segment, 1), rows);
    queue_->launch(*kernel_, args_, {std::span(&segment, 1), rows});
    const float* y = args_[2].data<float>();
    return {y, y + kTokens * kOutputs};
  }

 private:
  static constexpr int kTokens = 5, kWidth = 256, kOutputs = 512;
  std::unique_ptr<Queue> queue_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<Tensor> args_;
};

std::shared_ptr<CpuDevice> sharing(ThreadSharing how) {
  return std::make_shared<CpuDevice>(2, FastOptions{}, simd::fastest_paths(), CpuOptions{.sharing = how, .memory = {}});
}

TEST(CpuDevice, QueuesHaveThreadsOfTheirOwnWhereTheyAreToHave) {
  for (const ThreadSharing how : {ThreadSharing::kFirst, ThreadSharing::kTurns, ThreadSharing::kOwn}) {
    const auto device = sharing(how);
    const auto one = device->pool(), other = device->pool();
    EXPECT_EQ(one != other, how == ThreadSharing::kOwn);
    EXPECT_EQ(device->turns() != nullptr, how == ThreadSharing::kTurns);
  }
}

TEST(CpuDevice, ALaunchWaitsForItsTurn) {
  const auto device = sharing(ThreadSharing::kTurns);
  Product product(*device);
  std::atomic<bool> done{false};
  device->turns()->lock();
  std::thread other([&] {
    product.run();
    done = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // in which it would be done, if it did not wait
  EXPECT_FALSE(done);
  device->turns()->unlock();
  other.join();
  EXPECT_TRUE(done);
}

TEST(CpuDevice, QueuesOfOneDeviceRunAtOnce) {
  const auto device = create_cpu_device(3);
  const std::vector<float> expected = Product(*device).run();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Product product(*device);
      for (int run = 0; run < 20; ++run) wrong += product.run() != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace v4rt
