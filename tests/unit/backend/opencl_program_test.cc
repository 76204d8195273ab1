#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

#include "backend/opencl/program_cache.h"
#include "ops/core/log.h"
#include "ops/norm/norm.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

// Collects debug messages while it lives.
class Messages {
 public:
  Messages() {
    log::set_level(log::Level::kDebug);
    log::set_sink([this](log::Level, std::string_view message) { all_.emplace_back(message); });
  }
  ~Messages() {
    log::set_sink({});
    log::set_level(log::Level::kWarn);
  }
  size_t count(std::string_view part) const {
    return static_cast<size_t>(
        std::ranges::count_if(all_, [&](const std::string& m) { return m.find(part) != std::string::npos; }));
  }

 private:
  std::vector<std::string> all_;
};

std::vector<TestTensor> norm_inputs() {
  std::mt19937 random(7);
  std::vector<float> x(3 * 100), w(100);
  for (float& v : x) v = std::normal_distribution<float>()(random);
  for (float& v : w) v = std::normal_distribution<float>()(random);
  return {TestTensor({DType::kF32, Shape{3, 100}}, x), TestTensor({DType::kF32, Shape{100}}, w)};
}

const RmsNorm kNorm(1e-6f);

std::vector<std::byte> run_norm(Device& device) { return run_on(device, kNorm, norm_inputs())[0]; }

TEST(OpenclPrograms, AWrongProgramNamesItselfAndTheLog) {
  const auto device = test_opencl();
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  try {
    device->function("rms_norm.cl", {"ACT=nonsense", "WEIGHT=f32"}, "rms_norm");
    FAIL() << "it built";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kDevice);
    EXPECT_NE(std::string(error.what()).find("rms_norm.cl"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("nonsense"), std::string::npos) << error.what();
  }
  EXPECT_EQ(run_norm(*device), run_reference(kNorm, norm_inputs())[0].values) << "the device is usable afterwards";
}

TEST(OpenclPrograms, AreBuiltOnceAndThenReadFromDisk) {
  if (test_opencl() == nullptr) GTEST_SKIP() << "no OpenCL device";
  const TemporaryDirectory directory;
  const Messages messages;
  const std::vector<std::byte> first = run_norm(*test_opencl(directory.path()));
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
  ASSERT_EQ(directory.files().size(), 1u);
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
}

TEST(OpenclPrograms, DamagedEntriesAreBuiltAgain) {
  if (test_opencl() == nullptr) GTEST_SKIP() << "no OpenCL device";
  const TemporaryDirectory directory;
  const std::vector<std::byte> first = run_norm(*test_opencl(directory.path()));
  ASSERT_EQ(directory.files().size(), 1u);
  const std::filesystem::path path = directory.files()[0];
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(file_size(path) / 2))
      .put('\x5a')
      .put('\xa5');
  const Messages messages;
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
  EXPECT_EQ(messages.count("is not used"), 1u);
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first) << "the entry was written anew";
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
}

// A run that is stopped loses nothing that was compiled.
TEST(OpenclPrograms, AreStoredAsSoonAsTheyAreBuilt) {
  const TemporaryDirectory directory;
  const auto device = test_opencl(directory.path());
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  const auto function = device->function("basic.cl", {"ACT=f32"}, "swiglu");
  EXPECT_EQ(directory.files().size(), 1u);
}

std::string key_of(const std::filesystem::path& entry) {
  std::ifstream file(entry, std::ios::binary);
  uint64_t header[5] = {};  // magic, bytes of key and data, checksum
  file.read(reinterpret_cast<char*>(header), sizeof(header));
  std::string key(header[1], '\0');
  file.read(key.data(), static_cast<std::streamsize>(key.size()));
  return key;
}

// The entry of rms_norm.cl gets `data` under a right checksum: it is built from source once, and then replaced.
void expect_replaced(const std::vector<std::byte>& data) {
  const TemporaryDirectory directory;
  const std::vector<std::byte> first = run_norm(*test_opencl(directory.path()));
  ASSERT_EQ(directory.files().size(), 1u);
  const std::string key = key_of(directory.files()[0]);
  BinaryStore(directory.path()).store(key, data);
  const Messages messages;
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
  EXPECT_EQ(messages.count("the driver refuses cache entry"), 1u);
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
  EXPECT_NE(BinaryStore(directory.path()).load(key), data);
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
  EXPECT_EQ(directory.files().size(), 1u) << "no mark is left";
}

TEST(OpenclPrograms, WhatIsNoBinaryIsReplaced) {
  if (test_opencl() == nullptr) GTEST_SKIP() << "no OpenCL device";
  expect_replaced(std::vector<std::byte>(1000, std::byte{'x'}));
}

TEST(OpenclPrograms, ABinaryWithoutTheKernelIsReplaced) {
  const TemporaryDirectory directory;
  const auto device = test_opencl(directory.path());
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  device->function("basic.cl", {"ACT=f32"}, "swiglu");
  ASSERT_EQ(directory.files().size(), 1u);
  expect_replaced(*BinaryStore(directory.path()).load(key_of(directory.files()[0])));
}

// A binary may crash the driver, and the process with it. The next one finds its mark.
TEST(OpenclPrograms, ABinaryThatEndedAProcessIsReplaced) {
  if (test_opencl() == nullptr) GTEST_SKIP() << "no OpenCL device";
  const TemporaryDirectory directory;
  const std::vector<std::byte> first = run_norm(*test_opencl(directory.path()));
  ASSERT_EQ(directory.files().size(), 1u);
  const std::string entry = directory.files()[0].string();
  const Messages messages;
  {
    const BinaryStore::Trial of_another(entry);
    EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
    EXPECT_EQ(messages.count("from source"), 0u) << "while another process is at it, the entry is as good as any";
  }
  std::ofstream(entry + ".1.0.trial").put('x');
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
  EXPECT_EQ(messages.count("a process ended while its driver loaded the stored binary of rms_norm_rows of rms_norm.cl"),
            1u);
  EXPECT_EQ(messages.count(entry), 1u) << "the warning names the file";
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
  EXPECT_EQ(run_norm(*test_opencl(directory.path())), first);
  EXPECT_EQ(messages.count("a process ended"), 1u);
  EXPECT_EQ(messages.count("built rms_norm.cl from source"), 1u);
}

// Processes that start together, with nothing stored and with everything stored.
TEST(OpenclPrograms, ManyDevicesShareAStore) {
  if (test_opencl() == nullptr) GTEST_SKIP() << "no OpenCL device";
  const TemporaryDirectory directory;
  for (int round = 0; round < 2; ++round) {
    std::vector<std::vector<std::byte>> results(3);
    std::vector<std::thread> threads;
    for (auto& result : results) threads.emplace_back([&] { result = run_norm(*test_opencl(directory.path())); });
    for (std::thread& thread : threads) thread.join();
    for (const auto& result : results) EXPECT_EQ(result, results[0]);
    EXPECT_EQ(directory.files().size(), 1u);
  }
}

// What `v4rt kernels` writes.
TEST(OpenclPrograms, SayWhatTheyAre) {
  const auto device = test_opencl();
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  EXPECT_THROW(device->function("rms_norm.cl", {"ACT=nonsense", "WEIGHT=f32"}, "rms_norm"), Error);
  device->function("basic.cl", {"ACT=f32"}, "swiglu");
  device->function("basic.cl", {"ACT=f32"}, "add_streams");
  const std::vector<DeviceProgram> programs = device->programs();
  ASSERT_EQ(programs.size(), 2u) << "those that were built";
  ASSERT_EQ(programs[1].functions.size(), 1u);
  EXPECT_EQ(programs[1].functions[0].name, "swiglu");
  EXPECT_EQ(programs[1].file, "basic.cl");
  EXPECT_NE(programs[1].options.find("-DACT=f32"), std::string::npos);
  EXPECT_NE(programs[1].source.find("KERNEL void swiglu"), std::string::npos);
  EXPECT_EQ(programs[1].source.find("KERNEL void add_streams"), std::string::npos) << "one kernel each";
  EXPECT_FALSE(programs[1].binary.empty());
  const size_t group = device->capabilities().lanes == Lanes::kVector ? 1 : 64;
  EXPECT_EQ(programs[1].functions[0].group, (std::vector<size_t>{group, 1, 1}));
}

// Arguments belong to a cl_kernel: launches of one kernel from several threads must not mix them.
TEST(OpenclPrograms, OneKernelServesManyThreads) {
  const auto device = test_opencl();
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  const TensorType types[] = {{DType::kF32, Shape{1, 64}}, {DType::kF32, Shape{64}}};
  const std::vector<TensorType> outputs = kNorm.infer(types);
  const auto kernel = device->compile({kNorm, types, outputs});
  const auto work = [&](float value, std::vector<float>* result) {
    const auto queue = device->create_queue();
    const std::vector<float> x(64, 1.0f), w(64, value);
    const Tensor args[] = {{types[0], uploaded(*device, *queue, std::as_bytes(std::span(x))), nullptr},
                           {types[1], uploaded(*device, *queue, std::as_bytes(std::span(w))), nullptr},
                           {outputs[0], device->allocate(256), nullptr}};
    const Segment segment{0, 0, 1};
    std::vector<Row> rows(1);
    fill_rows(std::span(&segment, 1), rows);
    const Step step{std::span(&segment, 1), rows};
    for (int i = 0; i < 200; ++i) {
      queue->begin(step);
      queue->launch(*kernel, args, step);
    }
    result->resize(64);
    queue->download(std::as_writable_bytes(std::span(*result)), *args[2].values, 0);
  };
  std::vector<std::vector<float>> results(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i) threads.emplace_back(work, static_cast<float>(i + 1), &results[i]);
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i], std::vector<float>(64, results[0][0] * static_cast<float>(i + 1))) << "thread " << i;
  }
}

}  // namespace
}  // namespace v4rt
