#include "ops/norm/norm.h"

#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

void rms_norm_row(std::span<float> x, std::span<const float> w, float eps) {
  const float r = em_rsqrt(em_div(dot64(x, x), static_cast<float>(x.size())) + eps);
  for (size_t i = 0; i < x.size(); ++i) x[i] = (x[i] * r) * w[i];
}

std::string RmsNorm::describe() const {
  return fmt::format("rms_norm{{eps={}{}}}", eps, rows == LiveRows::kSegments ? ",segments" : "");
}

std::vector<TensorType> RmsNorm::infer(std::span<const TensorType> in) const {
  expect_inputs("rms_norm", in, 2);
  expect_activation("rms_norm", in[0]);
  expect_norm("rms_norm", in[1], in[0].shape[-1]);
  return {in[0]};
}

void RmsNorm::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t n = shape[-1], live = live_rows(context.step(), rows) * (shape.rows() / shape[0]);
  const Floats w = context.read(1);
  Floats x(static_cast<size_t>(n));
  for (int64_t row = 0; row < live; ++row) {
    context.read(0, row * n, x);
    rms_norm_row(x, w, eps);
    context.write(0, row * n, x);
  }
}

Cost RmsNorm::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 2 * live_bytes(in[0], live_rows(step, rows))};
}

std::string HeadRms::describe() const { return fmt::format("head_rms{{eps={}}}", eps); }

std::vector<TensorType> HeadRms::infer(std::span<const TensorType> in) const {
  expect_inputs("head_rms", in, 1);
  expect_activation("head_rms", in[0], 3, 3);
  return {in[0]};
}

void HeadRms::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t d = shape[2];
  const bool rounds = context.input(0).dtype == DType::kBF16;
  Floats q(static_cast<size_t>(d)), squares(q.size());
  for (int64_t row = 0; row < context.n_rows() * shape[1]; ++row) {
    context.read(0, row * d, q);
    float r = 0;
    if (rounds) {
      for (size_t i = 0; i < q.size(); ++i) squares[i] = em_bf16(q[i] * q[i]);
      const float mean = em_bf16(em_div(sum64(squares), static_cast<float>(d)));
      r = em_bf16(em_rsqrt(em_bf16(mean + eps)));
    } else {
      r = em_rsqrt(em_div(dot64(q, q), static_cast<float>(d)) + eps);
    }
    for (float& v : q) v *= r;
    context.write(0, row * d, q);
  }
}

Cost HeadRms::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 2 * live_bytes(in[0], step.n_rows())};
}

}  // namespace v4rt
