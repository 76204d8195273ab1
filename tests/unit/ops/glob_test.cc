#include "ops/core/glob.h"

#include <gtest/gtest.h>

namespace v4rt {
namespace {

TEST(Glob, Matches) {
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("L0?.moe.*", "L03.moe.down"));
  EXPECT_TRUE(glob_match("*attend", "L03.attn.attend"));
  EXPECT_TRUE(glob_match("*a*b*c", "xxaybbzbc"));
  EXPECT_TRUE(glob_match("L0[0-3].*", "L02.ffn"));
  EXPECT_TRUE(glob_match("a\\b", "a\\b"));
  EXPECT_FALSE(glob_match("L0[0-3].*", "L04.ffn"));
  EXPECT_FALSE(glob_match("L0?.moe.*", "L13.moe.down"));
  EXPECT_FALSE(glob_match("moe", "L03.moe"));
  EXPECT_FALSE(glob_match("*a*b*c", "xxaybbzb"));
  EXPECT_FALSE(glob_match("?", ""));
}

}  // namespace
}  // namespace v4rt
