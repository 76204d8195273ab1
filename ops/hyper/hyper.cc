#include "ops/hyper/hyper.h"

#include <limits>
#include <span>

#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/norm/norm.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

struct StreamRow {
  Floats v;    // m * d
  Floats mix;  // one per row of fn
};

// mix[i] = dot64(v, fn[i]) * rsqrt(mean(v^2) + eps)
StreamRow mix_row(RefContext& context, int64_t t, std::span<const float> fn, float eps) {
  const Shape& shape = context.input(0).shape;
  const auto width = static_cast<size_t>(shape[1] * shape[2]);
  StreamRow row{Floats(width), Floats(fn.size() / width)};
  context.read(0, t * static_cast<int64_t>(width), row.v);
  const float r = em_rsqrt(em_div(dot64(row.v, row.v), static_cast<float>(width)) + eps);
  for (size_t i = 0; i < row.mix.size(); ++i) row.mix[i] = dot64(row.v, fn.subspan(i * width, width)) * r;
  return row;
}

// Spec section 5.2: comb logits [m, m] in place to an almost doubly stochastic matrix.
void sinkhorn(std::span<float> comb, size_t m, int iterations, float eps) {
  const auto normalise = [&](size_t outer, size_t inner, bool add_eps) {
    for (size_t a = 0; a < m; ++a) {
      float sum = 0;
      for (size_t b = 0; b < m; ++b) sum += comb[a * outer + b * inner];
      if (add_eps) sum += eps;
      for (size_t b = 0; b < m; ++b) comb[a * outer + b * inner] = em_div(comb[a * outer + b * inner], sum);
    }
  };
  for (size_t j = 0; j < m; ++j) {
    float maximum = -std::numeric_limits<float>::infinity();
    for (size_t k = 0; k < m; ++k) maximum = em_max(comb[j * m + k], maximum);
    for (size_t k = 0; k < m; ++k) comb[j * m + k] = em_exp(comb[j * m + k] - maximum);
  }
  normalise(m, 1, false);
  for (float& c : comb) c += eps;
  normalise(1, m, true);
  for (int i = 1; i < iterations; ++i) {
    normalise(m, 1, true);
    normalise(1, m, true);
  }
}

// x[c] = round(sum_j weight[j] * v[j, c]), then the norm.
Floats collapse(const StreamRow& row, std::span<const float> weights, bool rounds, std::span<const float> norm,
                float eps) {
  Floats x(norm.size());
  for (size_t c = 0; c < x.size(); ++c) {
    float sum = 0;
    for (size_t j = 0; j < weights.size(); ++j) sum += weights[j] * row.v[j * x.size() + c];
    x[c] = rounds ? em_bf16(sum) : sum;
  }
  rms_norm_row(x, norm, eps);
  return x;
}

void expect_streams(std::string_view op, std::span<const TensorType> in, int streams, int64_t mixes, int64_t scales) {
  expect_inputs(op, in, 5);
  expect_activation(op, in[0], 3, 3);
  const Shape& h = in[0].shape;
  check(h[1] == streams, Code::kInvalidArgument, "{}: {} has not {} streams", op, to_string(in[0]), streams);
  expect_type(op, "fn", in[1], {DType::kF32, Shape{mixes, h[1] * h[2]}});
  expect_type(op, "scale", in[2], {DType::kF32, Shape{scales}});
  expect_type(op, "base", in[3], {DType::kF32, Shape{mixes}});
  expect_norm(op, in[4], h[2]);
}

std::string describe_spec(const HyperSpec& spec) {
  return fmt::format("m={},iters={},eps={}/{}", spec.streams, spec.sinkhorn_iterations, spec.hc_eps, spec.rms_eps);
}

Cost mix_cost(std::span<const TensorType> in, double rows) {
  return {.flops = 2 * rows * static_cast<double>(in[1].shape.elements()),
          .io_bytes = live_bytes(in[0], rows) * (1.0 + 1.0 / static_cast<double>(in[0].shape[1]))};
}

}  // namespace

std::string HcPre::describe() const { return fmt::format("hc_pre{{{}}}", describe_spec(spec)); }

std::vector<TensorType> HcPre::infer(std::span<const TensorType> in) const {
  const int64_t m = spec.streams, mixes = 2 * m + m * m;
  expect_streams("hc_pre", in, spec.streams, mixes, 3);
  const Shape& h = in[0].shape;
  return {{in[0].dtype, Shape{h[0], h[2]}}, {DType::kF32, Shape{h[0], mixes}}};
}

void HcPre::reference(RefContext& context) const {
  const auto m = static_cast<size_t>(spec.streams);
  const Floats fn = context.read(1), scale = context.read(2), base = context.read(3), norm = context.read(4);
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    StreamRow row = mix_row(context, t, fn, spec.rms_eps);
    Floats& mix = row.mix;
    for (size_t i = 0; i < mix.size(); ++i) {
      const float logit = mix[i] * scale[i < m ? 0 : (i < 2 * m ? 1 : 2)] + base[i];
      mix[i] = i < m ? em_sigmoid(logit) + spec.hc_eps : (i < 2 * m ? 2.0f * em_sigmoid(logit) : logit);
    }
    sinkhorn(std::span(mix).subspan(2 * m), m, spec.sinkhorn_iterations, spec.hc_eps);
    context.write(1, t * static_cast<int64_t>(mix.size()), mix);
    const bool rounds = context.input(0).dtype == DType::kBF16;
    const Floats x = collapse(row, std::span(mix).first(m), rounds, norm, spec.rms_eps);
    context.write(0, t * static_cast<int64_t>(x.size()), x);
  }
}

Cost HcPre::work(std::span<const TensorType> in, const Step& step) const { return mix_cost(in, step.n_rows()); }

std::string HcPost::describe() const { return fmt::format("hc_post{{m={}}}", streams); }

std::vector<TensorType> HcPost::infer(std::span<const TensorType> in) const {
  expect_inputs("hc_post", in, 3);
  expect_activation("hc_post", in[1], 3, 3);
  const Shape& h = in[1].shape;
  const int64_t m = streams;
  check(h[1] == m, Code::kInvalidArgument, "hc_post: {} has not {} streams", to_string(in[1]), m);
  expect_type("hc_post", "f", in[0], {in[1].dtype, Shape{h[0], h[2]}});
  expect_type("hc_post", "mix", in[2], {DType::kF32, Shape{h[0], 2 * m + m * m}});
  return {in[1]};
}

void HcPost::reference(RefContext& context) const {
  const Shape& shape = context.input(1).shape;
  const auto m = static_cast<size_t>(shape[1]), d = static_cast<size_t>(shape[2]), mixes = 2 * m + m * m;
  Floats f(d), h(m * d), mix(mixes), out(m * d);
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    context.read(0, t * static_cast<int64_t>(d), f);
    context.read(1, t * static_cast<int64_t>(m * d), h);
    context.read(2, t * static_cast<int64_t>(mixes), mix);
    for (size_t k = 0; k < m; ++k) {
      for (size_t c = 0; c < d; ++c) {
        float sum = 0;
        for (size_t j = 0; j < m; ++j) sum += mix[2 * m + j * m + k] * h[j * d + c];
        out[k * d + c] = mix[m + k] * f[c] + sum;
      }
    }
    context.write(0, t * static_cast<int64_t>(m * d), out);
  }
}

Cost HcPost::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = live_bytes(in[0], step.n_rows()) + 2 * live_bytes(in[1], step.n_rows())};
}

std::string HcHead::describe() const {
  return fmt::format("hc_head{{{}{}}}", describe_spec(spec), rows == LiveRows::kSegments ? ",segments" : "");
}

std::vector<TensorType> HcHead::infer(std::span<const TensorType> in) const {
  expect_streams("hc_head", in, spec.streams, spec.streams, 1);
  return {{in[0].dtype, Shape{in[0].shape[0], in[0].shape[2]}}};
}

void HcHead::reference(RefContext& context) const {
  const Floats fn = context.read(1), scale = context.read(2), base = context.read(3), norm = context.read(4);
  for (int64_t t = 0; t < live_rows(context.step(), rows); ++t) {
    StreamRow row = mix_row(context, t, fn, spec.rms_eps);
    for (size_t j = 0; j < row.mix.size(); ++j) row.mix[j] = em_sigmoid(row.mix[j] * scale[0] + base[j]) + spec.hc_eps;
    const bool rounds = context.input(0).dtype == DType::kBF16;
    const Floats x = collapse(row, row.mix, rounds, norm, spec.rms_eps);
    context.write(0, t * static_cast<int64_t>(x.size()), x);
  }
}

Cost HcHead::work(std::span<const TensorType> in, const Step& step) const {
  return mix_cost(in, live_rows(step, rows));
}

}  // namespace v4rt
