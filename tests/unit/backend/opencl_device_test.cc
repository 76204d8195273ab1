#include "backend/opencl/opencl_device.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include "ops/basic/basic.h"
#include "ops/linear/linear.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

class OpenclDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    device_ = test_opencl();
    if (device_ == nullptr) GTEST_SKIP() << "no OpenCL device";
    queue_ = device_->create_queue();
  }

  static std::vector<std::byte> counting(size_t n) {
    std::vector<std::byte> bytes(n);
    for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
  }

  std::shared_ptr<OpenclDevice> device_;
  std::unique_ptr<Queue> queue_;
};

Code code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return Code::kInternal;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// As after a queue that failed to wait: who drops the view may free the memory.
TEST_F(OpenclDeviceTest, AViewOfHostMemoryIsNotGoneWhileACommandReadsIt) {
  const std::vector<std::byte> bytes = counting(4096);
  alignas(64) static std::array<std::byte, 4096> memory;
  std::ranges::copy(bytes, memory.begin());
  BufferPtr view = device_->import_host(memory);
  if (view == nullptr) GTEST_SKIP() << "this device copies";
  cl_int status = CL_SUCCESS;
  const cl::Event gate(clCreateUserEvent(device_->context(), &status));
  const cl_event held = gate.get();
  const cl_command_queue handle = static_cast<OpenclQueue&>(*queue_).handle();
  ASSERT_EQ(clEnqueueBarrierWithWaitList(handle, 1, &held, nullptr), CL_SUCCESS);
  const BufferPtr copy = device_->allocate(memory.size());
  queue_->copy(*copy, 0, *view, 0, memory.size());
  std::atomic<bool> gone = false;
  std::thread drops([&] {
    view.reset();
    gone = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(gone);
  clSetUserEventStatus(held, CL_COMPLETE);
  drops.join();
  EXPECT_EQ(downloaded(*queue_, copy), bytes);
}

TEST_F(OpenclDeviceTest, ListsWhatItCreates) {
  std::vector<std::string> problems;
  const std::vector<DeviceInfo> list = list_opencl_devices(problems);
  ASSERT_FALSE(list.empty());
  for (size_t i = 0; i < list.size(); ++i) {
    EXPECT_EQ(list[i].name, fmt::format("opencl:{}", i));
    EXPECT_FALSE(list[i].description.empty());
    EXPECT_GT(list[i].max_allocation, 0u);
    EXPECT_GE(list[i].alignment, 64u);
  }
  const auto device = create_opencl_device({}, "");
  EXPECT_EQ(device->info().name, list[0].name);
  EXPECT_EQ(device->info().description, list[0].description);
  EXPECT_EQ(code_of([&] { create_opencl_device({static_cast<int>(list.size())}, ""); }), Code::kNotFound);
  EXPECT_EQ(code_of([] { create_opencl_device({-1}, ""); }), Code::kNotFound);
}

TEST_F(OpenclDeviceTest, CopiesOfAnySizeArrive) {
  for (const size_t n : {size_t{1}, size_t{3}, size_t{4096}, size_t{65536}, size_t{65537}, size_t{1} << 20}) {
    const std::vector<std::byte> bytes = counting(n);
    EXPECT_EQ(downloaded(*queue_, uploaded(*device_, *queue_, bytes)), bytes) << n;
  }
}

// Small uploads are staged: many in flight must neither overtake nor overwrite each other.
TEST_F(OpenclDeviceTest, ManySmallUploadsKeepTheirOrder) {
  const BufferPtr buffer = device_->allocate(4096);
  for (int round = 0; round < 100; ++round) {
    for (size_t at = 0; at < 4096; at += 128) {
      const std::vector<std::byte> part(128, static_cast<std::byte>(round + static_cast<int>(at / 128)));
      queue_->upload(*buffer, at, part);
    }
  }
  const std::vector<std::byte> bytes = downloaded(*queue_, buffer);
  for (size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], static_cast<std::byte>(99 + i / 128)) << i;
}

TEST_F(OpenclDeviceTest, FillsAnySize) {
  for (const size_t n : {size_t{1}, size_t{15}, size_t{16}, size_t{1000}}) {
    const BufferPtr buffer = device_->allocate(n);
    queue_->fill(*buffer, std::byte{0xa5});
    EXPECT_EQ(downloaded(*queue_, buffer), std::vector<std::byte>(n, std::byte{0xa5}));
  }
  queue_->fill(*device_->allocate(0), std::byte{1});
}

TEST_F(OpenclDeviceTest, SlicesOfSlicesShareMemoryAndOutliveTheirParent) {
  const size_t unit = device_->info().alignment;
  BufferPtr inner;
  {
    const BufferPtr whole = uploaded(*device_, *queue_, counting(8 * unit));
    const BufferPtr outer = whole->slice(2 * unit, 5 * unit);
    inner = outer->slice(unit, 2 * unit);
    queue_->fill(*outer->slice(2 * unit, 3), std::byte{9});
    EXPECT_EQ(whole->slice(8 * unit, 0)->bytes(), 0u);
  }
  std::vector<std::byte> expected = counting(8 * unit);
  std::fill_n(expected.begin() + static_cast<ptrdiff_t>(4 * unit), 3, std::byte{9});
  expected = {expected.begin() + static_cast<ptrdiff_t>(3 * unit), expected.begin() + static_cast<ptrdiff_t>(5 * unit)};
  EXPECT_EQ(downloaded(*queue_, inner), expected);
  EXPECT_EQ(code_of([&] { inner->slice(unit, 2 * unit); }), Code::kInternal);
}

TEST_F(OpenclDeviceTest, CopiesBeyondABufferAreRefused) {
  const BufferPtr buffer = device_->allocate(64);
  std::vector<std::byte> bytes(65);
  EXPECT_EQ(code_of([&] { queue_->upload(*buffer, 0, bytes); }), Code::kInternal);
  EXPECT_EQ(code_of([&] { queue_->download(std::span(bytes).first(8), *buffer, 60); }), Code::kInternal);
}

TEST_F(OpenclDeviceTest, AllocationsBeyondTheDeviceAreRefusedWithFigures) {
  const size_t limit = device_->info().max_allocation;
  EXPECT_EQ(code_of([&] { device_->allocate(limit + 1); }), Code::kOutOfMemory);
  const std::string message = message_of([&] { device_->allocate(limit + 1); });
  EXPECT_NE(message.find(fmt::format("{}", limit + 1)), std::string::npos) << message;
  EXPECT_NE(message.find(device_->info().name), std::string::npos) << message;
}

// Drivers accept more than the device has; the budget does not. Freed memory no longer counts.
TEST_F(OpenclDeviceTest, TheSumOfAllocationsHasALimit) {
  Capabilities small = device_->capabilities();
  small.memory = 1 << 20;
  const OpenclDevice device(find_opencl_sites().sites[0], small, "opencl:0", "");
  auto& limited = const_cast<OpenclDevice&>(device);
  BufferPtr first = limited.allocate(600 << 10);
  EXPECT_EQ(code_of([&] { limited.allocate(600 << 10); }), Code::kOutOfMemory);
  first.reset();
  EXPECT_NE(limited.allocate(600 << 10), nullptr);
}

// What they share is checked with a model: cli.device.opencl.
TEST_F(OpenclDeviceTest, PartsDivideTheComputeUnits) {
  const OpenclSite whole = find_opencl_sites().sites[0];
  const std::vector<OpenclSite> parts = parts_of(whole);
  if (parts.empty()) {
    EXPECT_EQ(code_of([] { create_opencl_device({0, 0}, ""); }), Code::kUnsupported);
    GTEST_SKIP() << "the device cannot be divided";
  }
  unsigned units = 0;
  for (const OpenclSite& part : parts) units += query_capabilities(part).compute_units;
  EXPECT_EQ(units, query_capabilities(whole).compute_units);
  EXPECT_EQ(parts_of(whole)[1].device, parts[1].device) << "parts are made once";
  const auto second = create_opencl_device({0, 1}, "");
  EXPECT_EQ(second->info().name, "opencl:0/1");
  EXPECT_EQ(dynamic_cast<const OpenclDevice&>(*second).capabilities().compute_units,
            query_capabilities(parts[1]).compute_units);
  const auto beyond = static_cast<int>(parts.size());
  const auto open = [&] { create_opencl_device({0, beyond}, ""); };
  EXPECT_EQ(code_of(open), Code::kNotFound);
  EXPECT_NE(message_of(open).find(fmt::format("{} parts, opencl:0/0 to opencl:0/{}", beyond, beyond - 1)),
            std::string::npos);
}

TEST_F(OpenclDeviceTest, ImportsHostMemoryWhereItCan) {
  alignas(64) static std::byte memory[4096];
  const std::vector<std::byte> bytes = counting(sizeof(memory));
  std::memcpy(memory, bytes.data(), sizeof(memory));
  EXPECT_EQ(device_->import_host(std::span(memory).subspan(1)), nullptr);
  EXPECT_EQ(device_->import_host({}), nullptr);
  const BufferPtr view = device_->import_host(memory);
  EXPECT_EQ(view != nullptr, device_->capabilities().host_memory);
  if (view != nullptr) {
    EXPECT_EQ(downloaded(*queue_, view), bytes);
  }
}

TEST_F(OpenclDeviceTest, RefusesWithAReason) {
  const Linear linear(DType::kF32);
  const TensorType inputs[] = {{DType::kF32, Shape{2, 64}}, {DType::kF32, Shape{32, 64}}};
  const std::vector<TensorType> outputs = linear.infer(inputs);
  const Support support = device_->supports({linear, inputs, outputs});
  EXPECT_FALSE(support);
  EXPECT_NE(support.reason.find("rows16"), std::string::npos) << support.reason;
  EXPECT_EQ(code_of([&] { device_->compile({linear, inputs, outputs}); }), Code::kUnsupported);
}

TEST_F(OpenclDeviceTest, AStepOfManyRowsFits) {
  const TakeLast take(3);
  const int64_t rows = 6000;
  TestTensor x({DType::kF32, Shape{rows, 1}});
  std::iota(x.view().data<float>(), x.view().data<float>() + rows, 0.0f);
  const TensorType types[] = {x.type};
  const std::vector<TensorType> outputs = take.infer(types);
  const auto kernel = device_->compile({take, types, outputs});
  const Tensor args[] = {{x.type, uploaded(*device_, *queue_, x.values), nullptr},
                         {outputs[0], device_->allocate(12), nullptr}};
  const Segment segments[] = {{2, 5, 10}, {0, 0, 5000}, {1, 9, 990}};
  std::vector<Row> table(static_cast<size_t>(rows));
  fill_rows(segments, table);
  const Step step{segments, table};
  queue_->begin(step);
  queue_->launch(*kernel, args, step);
  std::vector<float> last(3);
  queue_->download(std::as_writable_bytes(std::span(last)), *args[1].values, 0);
  EXPECT_EQ(last, (std::vector<float>{9, 5009, 5999}));
}

TEST_F(OpenclDeviceTest, AKernelThatReadsTheStepNeedsOne) {
  const TakeLast take(1);
  const TensorType types[] = {{DType::kF32, Shape{1, 4}}};
  const std::vector<TensorType> outputs = take.infer(types);
  const auto kernel = device_->compile({take, types, outputs});
  const Tensor args[] = {{types[0], device_->allocate(16), nullptr}, {outputs[0], device_->allocate(16), nullptr}};
  const Segment segment{0, 0, 1};
  std::vector<Row> rows(1);
  fill_rows(std::span(&segment, 1), rows);
  EXPECT_EQ(code_of([&] { queue_->launch(*kernel, args, {std::span(&segment, 1), rows}); }), Code::kInternal);
}

}  // namespace
}  // namespace v4rt
