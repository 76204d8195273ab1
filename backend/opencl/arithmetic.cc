#include "backend/opencl/arithmetic.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "ops/core/exact_sum.h"

namespace v4rt {
namespace {

#include "backend/opencl/kernels/arithmetic.cl"

constexpr const char* kNames[] = {"a * b + c", "a + b + c",    "fma(a, b, c)",  "a / b",     "sqrt(|a|)",
                                  "rint(a)",   "a within |b|", "exp(a)",        "weight(a)", "sigmoid(a)",
                                  "silu(a) b", "softplus(a)",  "the scale of a"};
static_assert(std::size(kNames) == kKinds);

constexpr int kTurns = 100'000;
constexpr float kInfinity = std::numeric_limits<float>::infinity(), kLeast = std::numeric_limits<float>::min();

using Operands = std::array<float, 4>;  // a, b, c and one that fills a float4

// Every a with every b; c goes round.
std::vector<Operands> operands() {
  constexpr float kValues[] = {0.0f, -0.0f, 1.0f, -3.0f, 0x1.000002p0f, -0x1.fffffep0f, 0x1.555556p-2f, 0.5f, 2.5f,
                               -3.5f, 87.5f, -87.5f, 0x1.fffffep1f, -0x1.921fb6p-20f, 0x1.fffffep23f, 0x1.234568p60f,
                               0x1p-40f, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
                               // about where e^a, or 1 / e^-a, is the least normal number
                               -87.0f, -88.5f, 0x1.8p-124f,
                               // subnormal numbers and their neighbours
                               0x1p-149f, -0x1.fffffcp-127f, kLeast, 0x1.fffffep127f, -0x1p126f};
  std::vector<Operands> all;
  size_t next = 0;
  for (const float a : kValues)
    for (const float b : kValues) all.push_back({a, b, kValues[next++ % std::size(kValues)], 0.0f});
  return all;
}

bool needs_subnormals(const Operands& v, float result) {
  const auto subnormal = [](float x) { return x != 0.0f && std::fabs(x) < kLeast; };
  return subnormal(v[0]) || subnormal(v[1]) || subnormal(v[2]) || subnormal(v[0] * v[1]) || subnormal(result);
}

bool same(float a, float b) { return em_bits(em_canonical(a)) == em_bits(em_canonical(b)); }

std::vector<float> terms() {
  std::vector<float> all;
  for (int i = 0; i < 1000; ++i) all.push_back(static_cast<float>(i * 37 % 101 - 50) * 0x1.5555p-3f);
  return all;
}

}  // namespace

ArithmeticAnswers ask_arithmetic(OpenclDevice& device) {
  const auto probe = device.function("arithmetic.cl", {}, "probe_arithmetic");
  const auto queue = device.create_queue();
  const auto uploaded = [&]<class T>(const std::vector<T>& values) {
    BufferPtr buffer = device.allocate(values.size() * sizeof(T));
    queue->upload(*buffer, 0, std::as_bytes(std::span(values)));
    return buffer;
  };
  const std::vector<Operands> all = operands();
  const std::vector<float> summed = terms();
  ArithmeticAnswers answers;
  answers.of_kinds.resize(all.size() * kKinds);
  const BufferPtr of_kinds = device.allocate(answers.of_kinds.size() * sizeof(float)),
                  of_loop = device.allocate(sizeof(answers.of_loop)), sum = device.allocate(sizeof(answers.sum));
  (*probe)(static_cast<OpenclQueue&>(*queue), {1}, uploaded(all), static_cast<int32_t>(all.size()), of_kinds, of_loop,
           kTurns, uploaded(summed), static_cast<int32_t>(summed.size()), sum);
  queue->download(std::as_writable_bytes(std::span(answers.of_kinds)), *of_kinds, 0);
  queue->download(std::as_writable_bytes(std::span(&answers.of_loop, 1)), *of_loop, 0);
  queue->download(std::as_writable_bytes(std::span(&answers.sum, 1)), *sum, 0);
  return answers;
}

ArithmeticAnswers right_arithmetic() {
  ArithmeticAnswers answers;
  for (int kind = 0; kind < kKinds; ++kind)
    for (const Operands& v : operands()) answers.of_kinds.push_back(arithmetic(kind, v[0], v[1], v[2]));
  answers.of_loop = turned(kTurns);
  answers.sum = dot64(terms(), terms());
  return answers;
}

ArithmeticFault fault_of(const ArithmeticAnswers& answers, bool subnormals) {
  const ArithmeticAnswers right = right_arithmetic();
  const std::vector<Operands> all = operands();
  for (size_t i = 0; i < right.of_kinds.size(); ++i) {
    const int kind = static_cast<int>(i / all.size());
    const Operands& v = all[i % all.size()];
    const bool of_subnormal = needs_subnormals(v, right.of_kinds[i]);
    if ((of_subnormal && !subnormals) || same(answers.of_kinds[i], right.of_kinds[i])) continue;
    return {.what = fmt::format("{} is {:a}, not {:a}, for a = {:a}, b = {:a}, c = {:a}", kNames[kind],
                                answers.of_kinds[i], right.of_kinds[i], v[0], v[1], v[2]),
            .of_division = kind == kDivision || kind == kRoot,
            .of_fma_at_zero = kind == kFma && v[2] == 0.0f,
            .of_subnormal = of_subnormal};
  }
  if (answers.of_loop != right.of_loop) return {.what = fmt::format("a loop of {} turns ends early", kTurns)};
  if (same(answers.sum, right.sum)) return {};
  return {.what = fmt::format("a sum of {} products is {:a}, not {:a}: their order is another", terms().size(),
                              answers.sum, right.sum)};
}

bool go_round(const ArithmeticFault& fault, Capabilities& capabilities) {
  if (fault.of_division && std::exchange(capabilities.correct_divide_sqrt, false)) return true;
  if (fault.of_subnormal) return std::exchange(capabilities.denormals, false);
  return fault.of_fma_at_zero && !std::exchange(capabilities.fma_wrong_at_zero, true);
}

}  // namespace v4rt
