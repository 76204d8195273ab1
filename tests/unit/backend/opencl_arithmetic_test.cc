// Devices are asked whether they compute as exact_math.h says, before anything runs there.

#include <gmock/gmock.h>

#include "backend/opencl/arithmetic.h"
#include "tests/unit/backend/opencl_support.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

TEST(OpenclArithmetic, IsRightHereInBothForms) {
  for (const Lanes lanes : {Lanes::kVector, Lanes::kWorkItems}) {
    for (const bool own : {false, true}) {  // division, root and the fma of zeros
      for (const bool subnormals : {false, true}) {
        const auto device = test_opencl([&](Capabilities& c) {
          c.lanes = lanes;
          c.correct_divide_sqrt = c.correct_divide_sqrt && !own;
          c.fma_wrong_at_zero = own;
          c.denormals = c.denormals && subnormals;
        });
        if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
        EXPECT_EQ(fault_of(ask_arithmetic(*device), device->capabilities().denormals).what, "");
      }
    }
  }
}

// A driver that flushes all the same is found out, where it says that it does not.
TEST(OpenclArithmetic, SubnormalNumbersTakenForZeroAreSeen) {
  const auto device = test_opencl([](Capabilities& c) { c.denormals = c.correct_divide_sqrt = false; });
  if (device == nullptr) GTEST_SKIP() << "no OpenCL device";
  const ArithmeticFault fault = fault_of(ask_arithmetic(*device), true);
  if (fault.what.empty()) GTEST_SKIP() << "the driver keeps them";
  EXPECT_TRUE(fault.of_subnormal) << fault.what;
}

TEST(OpenclArithmetic, EveryFaultIsNamed) {
  const ArithmeticAnswers right = right_arithmetic();
  EXPECT_EQ(fault_of(right, true).what, "");
  const char* const names[] = {"a * b + c", "a + b + c", "fma(",    "a / b",   "sqrt(",    "rint(",    "within",
                               "exp(",      "weight(",   "sigmoid", "silu(a)", "softplus", "the scale"};
  const size_t operands = right.of_kinds.size() / std::size(names);
  const auto values = static_cast<size_t>(std::sqrt(operands)), one = 2 * values + 7;  // of 1 and 0.5: no NaN
  for (size_t kind = 0; kind < std::size(names); ++kind) {
    ArithmeticAnswers wrong = right;
    float& answer = wrong.of_kinds[kind * operands + one];
    answer = std::nextafter(answer, 100.0f);
    const ArithmeticFault fault = fault_of(wrong, false);
    EXPECT_THAT(fault.what, HasSubstr(names[kind]));
    EXPECT_EQ(fault.of_division, kind == 3 || kind == 4);
    EXPECT_FALSE(fault.of_fma_at_zero || fault.of_subnormal);
  }
  ArithmeticAnswers wrong = right;
  wrong.of_kinds[2 * operands + values] = -0.0f;  // of -0, 0 and 0
  EXPECT_TRUE(fault_of(wrong, true).of_fma_at_zero) << fault_of(wrong, true).what;
  wrong = right;
  wrong.of_loop ^= 1;
  EXPECT_THAT(fault_of(wrong, true).what, HasSubstr("loop of 100000 turns"));
  wrong = right;
  wrong.sum = std::nextafter(wrong.sum, 0.0f);
  EXPECT_THAT(fault_of(wrong, true).what, HasSubstr("order"));
}

// Each way round is gone once: a fault that is still there afterwards is one.
TEST(OpenclArithmetic, SomeFaultsCanBeGoneRound) {
  Capabilities capabilities;
  capabilities.correct_divide_sqrt = true;
  EXPECT_TRUE(go_round({.what = "a / b", .of_division = true}, capabilities));
  EXPECT_FALSE(capabilities.correct_divide_sqrt);
  EXPECT_FALSE(go_round({.what = "a / b", .of_division = true}, capabilities));
  capabilities.denormals = true;
  EXPECT_TRUE(go_round({.what = "a / b", .of_division = true, .of_subnormal = true}, capabilities));
  EXPECT_FALSE(capabilities.denormals);
  EXPECT_FALSE(go_round({.what = "a + b", .of_subnormal = true}, capabilities));
  EXPECT_FALSE(go_round({.what = "a loop"}, capabilities));
  EXPECT_FALSE(capabilities.fma_wrong_at_zero);
  EXPECT_TRUE(go_round({.what = "fma", .of_fma_at_zero = true}, capabilities));
  EXPECT_TRUE(capabilities.fma_wrong_at_zero);
  EXPECT_FALSE(go_round({.what = "fma", .of_fma_at_zero = true}, capabilities));
}

}  // namespace
}  // namespace v4rt
