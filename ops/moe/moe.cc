#include "ops/moe/moe.h"

#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {
std::string Swiglu::describe() const { return fmt::format("swiglu{{limit={}}}", limit); }

std::vector<TensorType> Swiglu::infer(std::span<const TensorType> in) const {
  expect_inputs("swiglu", in, 1);
  expect_activation("swiglu", in[0], 2, 2);
  check(in[0].shape[1] % 2 == 0, Code::kInvalidArgument, "swiglu: {} has no two halves", to_string(in[0]));
  return {{in[0].dtype, Shape{in[0].shape[0], in[0].shape[1] / 2}}};
}

void Swiglu::reference(RefContext& context) const {
  const int64_t width = context.input(0).shape[1];
  const auto half = static_cast<size_t>(width / 2);
  Floats x(static_cast<size_t>(width)), y(half);
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    context.read(0, t * width, x);
    for (size_t i = 0; i < half; ++i) y[i] = em_swiglu(x[i], x[half + i], limit);
    context.write(0, t * width / 2, y);
  }
}

Cost Swiglu::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 1.5 * live_bytes(in[0], step.n_rows())};
}

std::string MoeGateUp::describe() const {
  return fmt::format("moe_gate_up{{limit={}{}}}", limit, first > 0 ? fmt::format(",first={}", first) : "");
}

Input MoeGateUp::input(size_t index) const {
  return index == 3 || index == 4 ? Input{.role = Role::kExperts, .ids = 1} : Input{};
}

std::vector<TensorType> MoeGateUp::infer(std::span<const TensorType> in) const {
  expect_inputs("moe_gate_up", in, first > 0 ? 6 : 5);
  expect_activation("moe_gate_up", in[0], 2, 2);
  const int64_t tokens = in[0].shape[0], d = in[0].shape[1];
  check(in[1].dtype == DType::kI32 && in[1].shape.rank() == 2 && in[1].shape[0] == tokens, Code::kInvalidArgument,
        "moe_gate_up: ids are {}, expected i32 [{}, k]", to_string(in[1]), tokens);
  expect_type("moe_gate_up", "weights", in[2], {DType::kF32, in[1].shape});
  check(in[3].shape.rank() == 3, Code::kInvalidArgument, "moe_gate_up: gate is {}, expected [E, I, d]",
        to_string(in[3]));
  const Shape stack{in[3].shape[0], in[3].shape[1], d};
  expect_matrix("moe_gate_up", "gate", in[3], stack);
  expect_type("moe_gate_up", "up", in[4], in[3]);
  const TensorType y{in[0].dtype, Shape{tokens, in[1].shape[1], stack[1]}};
  if (first > 0) expect_type("moe_gate_up", "the output so far", in[5], y);
  return {y};
}

void MoeGateUp::reference(RefContext& context) const {
  const Shape& stack = context.input(3).shape;
  const int64_t inner = stack[1], d = stack[2], k = context.input(1).shape[1];
  const bool rounds = context.input(0).dtype == DType::kBF16;
  Floats x(static_cast<size_t>(d)), w(x.size()), y(static_cast<size_t>(inner)), weights = context.read(2);
  const auto product = [&](int input, int64_t row) {
    context.read(input, row * d, w);
    const float value = dot(x, w);
    return rounds ? em_bf16(value) : value;
  };
  for (int64_t pick = 0; pick < context.n_rows() * k; ++pick) {
    const int64_t expert = context.ids(1)[pick] - first;
    if (expert < 0 || expert >= stack[0]) continue;
    context.read(0, pick / k * d, x);
    for (int64_t i = 0; i < inner; ++i) {
      const int64_t row = expert * inner + i;
      const float g = product(3, row), u = product(4, row);
      y[static_cast<size_t>(i)] = em_swiglu(g, u, limit) * weights[static_cast<size_t>(pick)];
    }
    context.write(0, pick * inner, y);
  }
}

Cost MoeGateUp::work(std::span<const TensorType> in, const Step& step) const {
  const double picks = step.n_rows() * static_cast<double>(in[1].shape[1]);
  return {.flops = 4 * picks * static_cast<double>(in[3].shape[1] * in[3].shape[2]),
          .io_bytes = live_bytes(in[0], step.n_rows()) +
                      picks * static_cast<double>(in[3].shape[1]) * info(in[0].dtype).bytes_per_element()};
}

std::string MoeDown::describe() const { return "moe_down"; }

std::vector<TensorType> MoeDown::infer(std::span<const TensorType> in) const {
  expect_inputs("moe_down", in, 4);
  expect_activation("moe_down", in[0], 3, 3);
  const Shape& x = in[0].shape;
  expect_type("moe_down", "ids", in[1], {DType::kI32, Shape{x[0], x[1]}});
  check(in[2].shape.rank() == 3, Code::kInvalidArgument, "moe_down: weight is {}, expected [E, d, I]",
        to_string(in[2]));
  expect_matrix("moe_down", "weight", in[2], Shape{in[2].shape[0], in[2].shape[1], x[2]});
  expect_type("moe_down", "shared", in[3], {in[0].dtype, Shape{x[0], in[2].shape[1]}});
  return {in[3]};
}

void MoeDown::reference(RefContext& context) const {
  const Shape& stack = context.input(2).shape;
  const int64_t d = stack[1], inner = stack[2], k = context.input(1).shape[1];
  const bool rounds = context.input(0).dtype == DType::kBF16;
  Floats x(static_cast<size_t>(inner)), w(x.size()), y(static_cast<size_t>(d)), shared(y.size());
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    std::fill(y.begin(), y.end(), 0.0f);
    for (int64_t pick = t * k; pick < (t + 1) * k; ++pick) {
      context.read(0, pick * inner, x);
      for (int64_t n = 0; n < d; ++n) {
        context.read(2, (context.ids(1)[pick] * d + n) * inner, w);
        const float value = dot(x, w);
        y[static_cast<size_t>(n)] += rounds ? em_bf16(value) : value;
      }
    }
    context.read(3, t * d, shared);
    for (size_t n = 0; n < y.size(); ++n) y[n] += shared[n];
    context.write(0, t * d, y);
  }
}

Cost MoeDown::work(std::span<const TensorType> in, const Step& step) const {
  const double picks = step.n_rows() * static_cast<double>(in[1].shape[1]);
  return {.flops = 2 * picks * static_cast<double>(in[2].shape[1] * in[2].shape[2]),
          .io_bytes = live_bytes(in[0], step.n_rows()) + 2 * live_bytes(in[3], step.n_rows())};
}

}  // namespace v4rt
