#include "graph/runtime/memory_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <sstream>

namespace v4rt {
namespace {

constexpr size_t kNone = std::numeric_limits<size_t>::max();

class ControlGroups : public testing::Test {
 protected:
  void limit(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
  size_t limit_of(const std::string& groups) const {
    std::istringstream lines(groups);
    return control_group_limit(root(), lines);
  }
  std::filesystem::path root() const {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    return std::filesystem::temp_directory_path() / fmt::format("v4rt-groups-{}-{}", test->name(), getpid());
  }
  void TearDown() override { std::filesystem::remove_all(root()); }
};

TEST_F(ControlGroups, NoneThereIsNoLimit) {
  EXPECT_EQ(limit_of(""), kNone);
  EXPECT_EQ(limit_of("0::/user.slice\nnonsense\n"), kNone);
}

TEST_F(ControlGroups, TheLeastFromTheGroupUpwards) {
  limit("a/memory.max", "3000");
  limit("a/b/memory.max", "max");
  limit("other/memory.max", "10");
  EXPECT_EQ(limit_of("0::/a/b/c\n"), 3000u);
  limit("a/b/c/memory.max", "2000");
  EXPECT_EQ(limit_of("0::/a/b/c\n"), 2000u);
  EXPECT_EQ(limit_of("0::/a\n"), 3000u);
}

TEST_F(ControlGroups, TheFirstVersionToo) {
  limit("memory/memory.limit_in_bytes", "9000");
  limit("memory/job/memory.limit_in_bytes", "4000");
  limit("cpu/job/memory.limit_in_bytes", "1");
  EXPECT_EQ(limit_of("4:cpu:/job\n3:memory:/\n"), 9000u);
  EXPECT_EQ(limit_of("4:cpu:/job\n3:hugetlb,memory:/job\n0::/\n"), 4000u);
}

TEST_F(ControlGroups, AContainerHasItsOwnAtTheTop) {
  limit("memory.max", "5000");
  EXPECT_EQ(limit_of("0::/\n"), 5000u);
}

TEST(AvailableMemory, IsThereAndNoMoreThanTheMachineHas) {
  EXPECT_GT(available_memory(), 0u);
  EXPECT_LT(available_memory(), size_t{1} << 50);
}

}  // namespace
}  // namespace v4rt
