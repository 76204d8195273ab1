#include "ops/rope/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/core/exact_math.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::vector<float> RopeTable::frequencies() const {
  const bool yarn = original_context > 0 && factor != 1;
  // Index of the pair that makes `beta` turns within the original context.
  const auto pair_of = [&](double beta) {
    return dims * std::log(original_context / (2 * std::numbers::pi * beta)) /
           (2 * std::log(static_cast<double>(theta)));
  };
  double low = 0, high = 1;
  if (yarn) {
    low = std::max(std::floor(pair_of(beta_fast)), 0.0);
    high = std::min(std::ceil(pair_of(beta_slow)), dims - 1.0);
    if (low == high) high += 0.001;
  }
  std::vector<float> frequencies(static_cast<size_t>(dims / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
    const float base = 1.0f / static_cast<float>(std::pow(static_cast<double>(theta), static_cast<double>(exponent)));
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1.0f - (yarn ? std::clamp(ramp, 0.0f, 1.0f) : 0.0f);
    const float slowed = base / factor * (1.0f - kept), fast = base * kept;
    frequencies[i] = slowed + fast;
  }
  return frequencies;
}

std::string RopeTable::describe() const {
  return fmt::format("R{},theta={},yarn={}/{}/{}/{}", dims, theta, factor, original_context, beta_fast, beta_slow);
}

void rotate_tail(std::span<float> x, std::span<const float> frequencies, int32_t position, float sign) {
  float* tail = x.data() + (x.size() - 2 * frequencies.size());
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    const float c = em_cos(angle), s = em_sin(angle) * sign;
    const float a = tail[2 * i], b = tail[2 * i + 1];
    tail[2 * i] = em_fma(a, c, -(b * s));
    tail[2 * i + 1] = em_fma(a, s, b * c);
  }
}

std::string RopeTail::describe() const {
  return fmt::format("rope_tail{{{}{}}}", table.describe(), inverse ? ",inverse" : "");
}

std::vector<TensorType> RopeTail::infer(std::span<const TensorType> in) const {
  expect_inputs("rope_tail", in, 1);
  expect_activation("rope_tail", in[0], 2, 3);
  check(table.dims > 0 && table.dims % 2 == 0 && table.dims <= in[0].shape[-1], Code::kInvalidArgument,
        "rope_tail: {} rotary dims do not fit {}", table.dims, to_string(in[0]));
  return {in[0]};
}

void RopeTail::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t d = shape[-1], heads = shape.rank() == 3 ? shape[1] : 1;
  Floats x(static_cast<size_t>(d));
  for (int64_t row = 0; row < context.n_rows() * heads; ++row) {
    context.read(0, row * d, x);
    rotate_tail(x, frequencies, context.step().rows[static_cast<size_t>(row / heads)].position, inverse ? -1.0f : 1.0f);
    context.write(0, row * d, x);
  }
}

Cost RopeTail::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 2 * live_bytes(in[0], step.n_rows())};
}

}  // namespace v4rt
