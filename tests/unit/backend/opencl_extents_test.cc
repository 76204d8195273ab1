#include <random>

#include "backend/opencl/extents.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

constexpr size_t kSlots = 4, kRow = 48, kRows = 2100, kSlotRows = 2112;  // in extents of 16
constexpr size_t kSlot = kSlotRows * kRow;

// A state in extents, and what it takes.
class Extents : public testing::Test {
 protected:
  void SetUp() override {
    if (device_ == nullptr) GTEST_SKIP() << "no OpenCL device";
    queue_ = device_->create_queue();
    const auto allocate = [this](size_t bytes) {
      if (refuse_) fail(Code::kOutOfMemory, "refused");
      taken_ = bytes;
      return device_->allocate(bytes);
    };
    const TensorType type{DType::kU8, Shape{kSlots, kRows, kRow}};
    ASSERT_EQ(in_extents(type).bytes(), kSlots * kSlot);
    extents_ = std::make_shared<OpenclExtents>(
        ExtentsSpec{.type = in_extents(type), .first = 1, .allocate = allocate, .queue = queue_.get()});
  }

  std::vector<std::byte> live(size_t slot, size_t n) {
    std::vector<std::byte> bytes(n);
    queue_->download(bytes, *extents_, slot * kSlot);
    return bytes;
  }
  void append(std::vector<std::byte>& to, size_t slot, size_t n) {
    std::vector<std::byte> bytes(n);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random_());
    const size_t begin = slot * kSlot + to.size();
    extents_->own(begin, begin + n);
    queue_->upload(*extents_, begin, bytes);
    to.insert(to.end(), bytes.begin(), bytes.end());
  }

  std::shared_ptr<OpenclDevice> device_ = test_opencl();
  std::unique_ptr<Queue> queue_;
  std::shared_ptr<OpenclExtents> extents_;
  size_t taken_ = 0;  // by the largest buffer, which is the last
  bool refuse_ = false;
  std::mt19937 random_{1};
};

TEST_F(Extents, HoldWhatWasWrittenToThem) {
  std::vector<std::vector<std::byte>> expected(kSlots);
  const auto below = [&](size_t n) { return random_() % n; };
  for (int i = 0; i < 600; ++i) {
    const size_t mine = below(kSlots), other = below(kSlots);
    std::vector<std::byte>& bytes = expected[mine];
    if (below(4) == 0 && mine != other) {
      extents_->copy(other * kSlot, mine * kSlot, bytes.size());
      expected[other] = bytes;
    } else {  // goes back by some rows, and on
      if (below(3) == 0) bytes.resize(below(bytes.size() / kRow + 1) * kRow);
      append(bytes, mine, below(std::min<size_t>(kRows - bytes.size() / kRow, 300) + 1) * kRow);
    }
    for (size_t s = 0; s < kSlots; ++s) ASSERT_TRUE(live(s, expected[s].size()) == expected[s]) << i << ", " << s;
  }
  EXPECT_LE(taken_, kSlots * kSlot);
}

TEST_F(Extents, CopiesTakeMemoryWhereTheyBecomeDifferent) {
  std::vector<std::byte> first;
  for (int i = 0; i < 21; ++i) append(first, 0, 100 * kRow);
  EXPECT_EQ(taken_, kSlot);
  for (size_t s = 1; s < kSlots; ++s) extents_->copy(s * kSlot, 0, 2000 * kRow);
  EXPECT_EQ(taken_, kSlot);
  std::vector<std::byte> second(first.begin(), first.begin() + 2000 * kRow);
  append(second, 1, kRow);
  EXPECT_LE(taken_, kSlot + kSlot / 20);
  EXPECT_TRUE(live(0, first.size()) == first);
  EXPECT_TRUE(live(1, second.size()) == second);
}

TEST_F(Extents, KeepWhatTheyHoldWhereThereIsNoMemory) {
  std::vector<std::byte> first;
  append(first, 0, 1000 * kRow);
  extents_->copy(kSlot, 0, first.size());
  refuse_ = true;
  EXPECT_THROW(extents_->own(kSlot, kSlot + 1000 * kRow), Error);
  refuse_ = false;
  EXPECT_TRUE(live(0, first.size()) == first);
  EXPECT_TRUE(live(1, first.size()) == first);
  std::vector<std::byte> second = first;
  append(second, 1, 1000 * kRow);
  EXPECT_TRUE(live(0, first.size()) == first);
  EXPECT_TRUE(live(1, second.size()) == second);
}

}  // namespace
}  // namespace v4rt
