#include "ops/core/human.h"

#include <gtest/gtest.h>

namespace v4rt {
namespace {

TEST(Human, WritesBytes) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(human_bytes(31.25 * (1 << 20)), "31.2 MiB");
  EXPECT_EQ(human_bytes(3.0 * (1 << 30)), "3.00 GiB");
  EXPECT_EQ(human_bytes(0x1p64), "16.0 EiB");
}

TEST(Human, WritesCounts) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(13.34e9), "13.3 G");
}

}  // namespace
}  // namespace v4rt
