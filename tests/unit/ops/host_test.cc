#include "ops/core/host.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

namespace v4rt {
namespace {

constexpr size_t kNone = std::numeric_limits<size_t>::max();

class ControlGroups : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
  GroupLimits limits_of(const std::string& groups) const {
    std::istringstream lines(groups);
    return group_limits(root(), lines);
  }
  size_t memory_of(const std::string& groups) const { return limits_of(groups).memory; }
  double processors_of(const std::string& groups) const { return limits_of(groups).processors; }
  std::filesystem::path root() const {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    return std::filesystem::temp_directory_path() / fmt::format("v4rt-groups-{}-{}", test->name(), getpid());
  }
  void TearDown() override { std::filesystem::remove_all(root()); }
};

TEST_F(ControlGroups, NoneThereIsNoLimit) {
  for (const char* groups : {"", "0::/user.slice\nnonsense\n"}) {
    EXPECT_EQ(memory_of(groups), kNone);
    EXPECT_EQ(processors_of(groups), HUGE_VAL);
  }
}

TEST_F(ControlGroups, TheLeastFromTheGroupUpwards) {
  write("a/memory.max", "3000");
  write("a/b/memory.max", "max");
  write("other/memory.max", "10");
  EXPECT_EQ(memory_of("0::/a/b/c\n"), 3000u);
  write("a/b/c/memory.max", "2000");
  EXPECT_EQ(memory_of("0::/a/b/c\n"), 2000u);
  EXPECT_EQ(memory_of("0::/a\n"), 3000u);
}

TEST_F(ControlGroups, TheFirstVersionToo) {
  write("memory/memory.limit_in_bytes", "9000");
  write("memory/job/memory.limit_in_bytes", "4000");
  write("cpu/job/memory.limit_in_bytes", "1");
  EXPECT_EQ(memory_of("4:cpu:/job\n3:memory:/\n"), 9000u);
  EXPECT_EQ(memory_of("4:cpu:/job\n3:hugetlb,memory:/job\n0::/\n"), 4000u);
}

TEST_F(ControlGroups, AContainerHasItsOwnAtTheTop) {
  write("memory.max", "5000");
  write("cpu.max", "50000 100000");
  EXPECT_EQ(memory_of("0::/\n"), 5000u);
  EXPECT_EQ(processors_of("0::/\n"), 0.5);
}

TEST_F(ControlGroups, WhatTheGroupUsesIsGoneButForPagesOfFiles) {
  write("job/memory.max", "5000");
  write("job/memory.current", "4000");
  EXPECT_EQ(memory_of("0::/job\n"), 1000u);
  write("job/memory.stat", "anon 2500\nfile 1500\ninactive_file 1000\nactive_file 400");
  EXPECT_EQ(memory_of("0::/job\n"), 2400u);
  write("job/memory.current", "9000");
  EXPECT_EQ(memory_of("0::/job\n"), 0u);
  write("memory/old/memory.limit_in_bytes", "5000");
  write("memory/old/memory.usage_in_bytes", "4000");
  write("memory/old/memory.stat", "inactive_file 1\nactive_file 1\ntotal_inactive_file 300\ntotal_active_file 200");
  EXPECT_EQ(memory_of("3:memory:/old\n"), 1500u);
}

TEST_F(ControlGroups, TimeOfProcessors) {
  write("a/cpu.max", "150000 100000");
  write("a/b/cpu.max", "max 100000");
  EXPECT_EQ(processors_of("0::/a/b\n"), 1.5);
  write("a/b/cpu.max", "20000 100000");
  EXPECT_EQ(processors_of("0::/a/b\n"), 0.2);
  EXPECT_EQ(processors_of("0::/a\n"), 1.5);
}

TEST_F(ControlGroups, TimeOfProcessorsInTheFirstVersion) {
  write("cpu/cpu.cfs_quota_us", "-1");
  write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(processors_of("4:cpu:/job\n"), HUGE_VAL);
  write("cpu/job/cpu.cfs_quota_us", "250000");
  write("cpu/job/cpu.cfs_period_us", "100000");
  EXPECT_EQ(processors_of("4:cpu:/job\n"), 2.5);
  write("cpu,cpuacct/job/cpu.cfs_quota_us", "50000");
  write("cpu,cpuacct/job/cpu.cfs_period_us", "100000");
  EXPECT_EQ(processors_of("4:cpu,cpuacct:/job\n"), 0.5);
}

TEST(Host, HasMemoryAndNoMoreThanAnyMachine) {
  EXPECT_GT(available_memory(), 0u);
  EXPECT_LT(available_memory(), size_t{1} << 50);
}

TEST(Host, RunsOnWhatItsAffinityAllows) {
  cpu_set_t all, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  EXPECT_GE(usable_processors(), 1);
  EXPECT_LE(usable_processors(), CPU_COUNT(&all));
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(usable_processors(), 1);
  EXPECT_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
}

}  // namespace
}  // namespace v4rt
