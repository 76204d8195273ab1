#include "graph/runtime/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace v4rt {
namespace {

using testing::HasSubstr;

TEST(HostMemory, HoldsWhatIsCopiedAndWhatASessionTakes) {
  EXPECT_EQ(exceeds_host({.weights = 3000, .rest = 1000}, 4000), "");
  const std::string message = exceeds_host({.weights = 3 << 20, .rest = 1536}, 3 << 20);
  EXPECT_THAT(message, HasSubstr("takes 3.00 MiB of memory"));
  EXPECT_THAT(message, HasSubstr("3.00 MiB of weights"));
  EXPECT_THAT(message, HasSubstr("1.50 KiB of state and working memory"));
  EXPECT_THAT(message, HasSubstr("3.00 MiB is available"));
  EXPECT_NE(exceeds_host({.weights = SIZE_MAX, .rest = SIZE_MAX}, SIZE_MAX - 1), "");  // the sum overflows
}

}  // namespace
}  // namespace v4rt
