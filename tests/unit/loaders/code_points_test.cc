#include "loaders/text/code_points.h"

#include <gtest/gtest.h>

namespace v4rt {
namespace {

std::vector<std::pair<uint32_t, uint32_t>> pairs(const CodePoints& set) {
  std::vector<std::pair<uint32_t, uint32_t>> all;
  for (const auto& range : set.ranges()) all.emplace_back(range.first, range.last);
  return all;
}

using Pairs = std::vector<std::pair<uint32_t, uint32_t>>;

TEST(CodePoints, Sets) {
  const CodePoints set{{20, 30}, {5, 7}, {8, 9}, {25, 40}, {27, 28}};
  EXPECT_EQ(pairs(set), (Pairs{{5, 9}, {20, 40}}));
  EXPECT_EQ(pairs(~set), (Pairs{{0, 4}, {10, 19}, {41, 0x10FFFF}}));
  EXPECT_EQ(pairs(~~set), pairs(set));
  EXPECT_EQ(pairs(set | CodePoints{{10, 19}}), (Pairs{{5, 40}}));
  EXPECT_EQ(pairs(~CodePoints()), (Pairs{{0, 0x10FFFF}}));
  EXPECT_TRUE((~~CodePoints()).ranges().empty());
  for (const uint32_t in : {5u, 9u, 20u, 40u}) EXPECT_TRUE(set.contains(in)) << in;
  for (const uint32_t out : {0u, 4u, 10u, 19u, 41u}) EXPECT_FALSE(set.contains(out)) << out;
}

// Assigned in Unicode 15, 15.1, 16 and 17: the last is not known yet.
TEST(CodePoints, UnicodeSixteen) {
  EXPECT_TRUE(general_category("Lo")->contains(0x31350));
  EXPECT_TRUE(general_category("So")->contains(0x2FFC));
  EXPECT_TRUE(general_category("Nd")->contains(0x10D40));
  EXPECT_TRUE(general_category("Cn")->contains(0x20C1));
  EXPECT_TRUE(general_category("Cf")->contains(0x180E));
  EXPECT_FALSE(white_space().contains(0x180E));
}

// Each code point has one category, and the classes are the sums of theirs.
TEST(CodePoints, CategoriesAreAPartition) {
  uint64_t members = 0;
  CodePoints all;
  for (const char* name : {"L", "M", "N", "P", "S", "Z", "C"}) {
    const CodePoints set = *general_category(name);
    for (const auto& range : set.ranges()) members += range.last - range.first + 1;
    all = all | set;
  }
  EXPECT_EQ(members, 0x110000u);
  EXPECT_EQ(pairs(all), (Pairs{{0, 0x10FFFF}}));
  EXPECT_EQ(pairs(*general_category("Nd") | *general_category("Nl") | *general_category("No")),
            pairs(*general_category("N")));
  for (const char* name : {"", "l", "Lx", "Latin", "Lu "}) EXPECT_FALSE(general_category(name).has_value()) << name;
}

TEST(CodePoints, WhiteSpace) {
  EXPECT_EQ(pairs(white_space()), (Pairs{{0x09, 0x0D},
                                         {0x20, 0x20},
                                         {0x85, 0x85},
                                         {0xA0, 0xA0},
                                         {0x1680, 0x1680},
                                         {0x2000, 0x200A},
                                         {0x2028, 0x2029},
                                         {0x202F, 0x202F},
                                         {0x205F, 0x205F},
                                         {0x3000, 0x3000}}));
}

}  // namespace
}  // namespace v4rt
