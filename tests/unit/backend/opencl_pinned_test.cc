// Copies of a device whose memory is not the host's, which any device can be taken for.

#include <algorithm>
#include <random>

#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

constexpr size_t kHalf = PinnedStaging::kHalf;

class OpenclPinnedTest : public testing::Test {
 protected:
  void SetUp() override {
    device_ = test_opencl([](Capabilities& c) { c.unified_memory = c.host_memory = false; });
    if (device_ == nullptr) GTEST_SKIP() << "no OpenCL device";
    queue_ = device_->create_queue();
  }

  std::vector<std::byte> random_bytes(size_t n) {
    std::vector<std::byte> bytes(n);
    std::ranges::generate(bytes, [this] { return static_cast<std::byte>(random_()); });
    return bytes;
  }

  std::shared_ptr<OpenclDevice> device_;
  std::unique_ptr<Queue> queue_;
  std::mt19937 random_{1};
};

TEST_F(OpenclPinnedTest, SaysWhatItIs) {
  EXPECT_EQ(device_->pinned_bytes(), 2 * kHalf);
  EXPECT_EQ(std::ranges::count(device_->info().features, "unified_memory"), 0);
  alignas(64) static std::byte memory[4096];
  EXPECT_EQ(device_->import_host(memory), nullptr);
  const bool unified = query_capabilities(find_opencl_sites().sites[0]).unified_memory;
  EXPECT_EQ(test_opencl()->pinned_bytes(), unified ? 0 : 2 * kHalf);
}

TEST_F(OpenclPinnedTest, WholeAndPartialHalvesArrive) {
  for (const size_t n : {size_t{1} << 16, (size_t{1} << 16) + 1, kHalf - 1, kHalf, kHalf + 1, 2 * kHalf, 2 * kHalf + 3,
                         3 * kHalf + 70'001}) {
    const std::vector<std::byte> bytes = random_bytes(n);
    EXPECT_TRUE(downloaded(*queue_, uploaded(*device_, *queue_, bytes)) == bytes) << n;
  }
}

// A copy neither overtakes those before it nor overwrites what they have not taken yet, and stays in its range.
TEST_F(OpenclPinnedTest, CopiesAtAnyPlaceKeepTheirOrder) {
  std::vector<std::byte> expected = random_bytes(5 * kHalf + 12'345);
  const BufferPtr whole = uploaded(*device_, *queue_, expected);
  const size_t begin = device_->info().alignment;
  const BufferPtr part = whole->slice(begin, expected.size() - begin);
  for (int i = 0; i < 30; ++i) {
    const size_t at = random_() % (4 * kHalf), n = random_() % (expected.size() - begin - at);
    const std::vector<std::byte> bytes = random_bytes(i % 3 == 0 ? n : n % 200'000);
    queue_->upload(*part, at, bytes);
    std::ranges::copy(bytes, expected.begin() + static_cast<ptrdiff_t>(begin + at));
    if (i % 5 != 0) continue;
    std::vector<std::byte> some(n);
    queue_->download(some, *part, at);
    ASSERT_TRUE(std::equal(some.begin(), some.end(), expected.begin() + static_cast<ptrdiff_t>(begin + at))) << i;
  }
  EXPECT_TRUE(downloaded(*queue_, whole) == expected);
}

// The source is free on return, and the queue may go while the device still reads.
TEST_F(OpenclPinnedTest, TheLastCopiesOfAQueueArrive) {
  const std::vector<std::byte> bytes = random_bytes(2 * kHalf + 99);
  const BufferPtr buffer = device_->allocate(bytes.size());
  for (int i = 0; i < 3; ++i) {
    const auto queue = device_->create_queue();
    queue_->fill(*buffer, std::byte{0});
    queue_->finish();
    std::vector<std::byte> source = bytes;
    queue->upload(*buffer, 0, source);
    std::ranges::fill(source, std::byte{7});
  }
  EXPECT_TRUE(downloaded(*queue_, buffer) == bytes);
}

}  // namespace
}  // namespace v4rt
