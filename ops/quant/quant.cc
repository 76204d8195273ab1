#include "ops/quant/quant.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "ops/core/exact_math.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

void fake_quant_row(std::span<float> x, QuantGrid grid, size_t block) {
  for (size_t begin = 0; begin < x.size(); begin += block) {
    const std::span<float> part = x.subspan(begin, std::min(block, x.size() - begin));
    em_uint amax = 0;
    for (float v : part) amax = std::max(amax, em_magnitude(v));
    const em_uint scale = grid == QuantGrid::kFp8 ? em_fp8_scale(amax) : em_fp4_scale(amax);
    for (float& v : part) v = grid == QuantGrid::kFp8 ? em_fake_fp8(v, scale) : em_fake_fp4(v, scale);
  }
}

void hadamard_row(std::span<float> x) {
  for (size_t h = 1; h < x.size(); h *= 2) {
    for (size_t i = 0; i < x.size(); ++i) {
      if ((i & h) != 0) continue;
      const float a = x[i], b = x[i + h];
      x[i] = a + b;
      x[i + h] = a - b;
    }
  }
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(x.size())));
  for (float& v : x) v *= scale;
}

std::string FakeQuant::describe() const {
  return fmt::format("fake_quant{{{},block={},dims={}}}", grid == QuantGrid::kFp8 ? "fp8" : "fp4", block, dims);
}

std::vector<TensorType> FakeQuant::infer(std::span<const TensorType> in) const {
  expect_inputs("fake_quant", in, 1);
  expect_activation("fake_quant", in[0]);
  check(block > 0 && dims >= 0 && dims <= in[0].shape[-1], Code::kInvalidArgument,
        "fake_quant: {} of {} elements cannot be quantised", dims, in[0].shape[-1]);
  return {in[0]};
}

void FakeQuant::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t n = shape[-1], rows = context.n_rows() * (shape.rows() / shape[0]);
  Floats x(static_cast<size_t>(n));
  for (int64_t row = 0; row < rows; ++row) {
    context.read(0, row * n, x);
    fake_quant_row(std::span(x).first(static_cast<size_t>(dims == 0 ? n : dims)), grid, static_cast<size_t>(block));
    context.write(0, row * n, x);
  }
}

Cost FakeQuant::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 2 * live_bytes(in[0], step.n_rows())};
}

std::string Hadamard::describe() const { return "hadamard"; }

std::vector<TensorType> Hadamard::infer(std::span<const TensorType> in) const {
  expect_inputs("hadamard", in, 1);
  expect_activation("hadamard", in[0]);
  check(std::has_single_bit(static_cast<uint64_t>(in[0].shape[-1])), Code::kInvalidArgument,
        "hadamard: the last dimension must be a power of two, not {}", in[0].shape[-1]);
  return {in[0]};
}

void Hadamard::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t n = shape[-1], rows = context.n_rows() * (shape.rows() / shape[0]);
  Floats x(static_cast<size_t>(n));
  for (int64_t row = 0; row < rows; ++row) {
    context.read(0, row * n, x);
    hadamard_row(x);
    context.write(0, row * n, x);
  }
}

Cost Hadamard::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 2 * live_bytes(in[0], step.n_rows())};
}

}  // namespace v4rt
