#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/opencl/opencl_device.h"

namespace v4rt {

// What a device answers to kernels/arithmetic.cl: contraction, the order of sums, fma, division, root, rounding, NaN,
// exponential, what is made of it, and a scale, of many operands; a long loop, a sum over work-items or lanes.
struct ArithmeticAnswers {
  std::vector<float> of_kinds;  // [kind][operands]
  uint32_t of_loop = 0;
  float sum = 0;
};

// Runs one small kernel. Throws Error(kDevice) when that cannot be built or run.
ArithmeticAnswers ask_arithmetic(OpenclDevice& device);

ArithmeticAnswers right_arithmetic();  // as exact_math.h defines it

// The first answer by which results would be others than the reference's.
struct ArithmeticFault {
  std::string what;          // with the operands; empty where there is none
  bool of_division = false;  // or of root
  bool of_fma_at_zero = false;
  bool of_subnormal = false;  // an operand or the result is a subnormal number
};
// Without `subnormals` nothing is asked that needs such numbers.
ArithmeticFault fault_of(const ArithmeticAnswers& answers, bool subnormals);

// Whether there is a way round the fault that `capabilities` do not yet go; then they do.
bool go_round(const ArithmeticFault& fault, Capabilities& capabilities);

}  // namespace v4rt
