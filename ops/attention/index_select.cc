#include <algorithm>
#include <numeric>

#include "ops/attention/attention.h"
#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::string IndexSelect::describe() const {
  return fmt::format("index_select{{ratio={},k={},{},scale={},rounds={}}}", spec.ratio, spec.top_k,
                     spec.format.describe(), spec.weight_scale, spec.rounds);
}

Input IndexSelect::input(size_t index) const {
  return index == 2 ? Input{.role = Role::kState, .rows = {.format = spec.format, .positions = spec.ratio}} : Input{};
}

std::vector<TensorType> IndexSelect::infer(std::span<const TensorType> in) const {
  expect_inputs("index_select", in, 3);
  expect_activation("index_select", in[0], 3, 3);
  const Shape& q = in[0].shape;
  check(q[2] == spec.format.dim, Code::kInvalidArgument, "index_select: queries {} do not match keys {}",
        to_string(in[0]), spec.format.describe());
  expect_type("index_select", "head weights", in[1], {in[0].dtype, Shape{q[0], q[1]}});
  check(in[2].dtype == DType::kU8 && in[2].shape.rank() == 3 && in[2].shape[2] == spec.format.bytes(),
        Code::kInvalidArgument, "index_select: keys are {}, expected u8 [slots, entries, {}]", to_string(in[2]),
        spec.format.bytes());
  check(spec.top_k > 0 && spec.ratio > 0, Code::kInvalidArgument, "index_select: top_k and ratio must be positive");
  return {{DType::kI32, Shape{q[0], spec.top_k}}};
}

void index_scores(const IndexSpec& spec, std::span<const float> q, std::span<const float> g, const uint8_t* keys,
                  std::span<float> scores) {
  const auto dim = static_cast<size_t>(spec.format.dim);
  Floats key(dim);
  for (size_t j = 0; j < scores.size(); ++j) {
    decode_row(spec.format, keys + static_cast<int64_t>(j) * spec.format.bytes(), key);
    float sum = 0;
    for (size_t h = 0; h < g.size(); ++h) {
      const float d = dot(q.subspan(h * dim, dim), key);
      const float weight = g[h] * spec.weight_scale;
      if (spec.rounds) {
        sum += em_bf16(em_bf16(weight) * em_max(0.0f, em_bf16(d)));
      } else {
        sum = em_fma(weight, em_max(0.0f, d), sum);
      }
    }
    scores[j] = spec.rounds ? em_bf16(sum) : sum;
  }
}

void IndexSelect::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t capacity = context.input(2).shape[1];
  Floats q(static_cast<size_t>(shape[1] * shape[2])), g(static_cast<size_t>(shape[1]));
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    const Row& row = context.step().rows[static_cast<size_t>(t)];
    const auto n = static_cast<size_t>((row.position + 1) / spec.ratio),
               k = std::min(n, static_cast<size_t>(spec.top_k));
    Ints order(n);
    std::iota(order.begin(), order.end(), 0);
    if (n > k) {
      context.read(0, t * static_cast<int64_t>(q.size()), q);
      context.read(1, t * static_cast<int64_t>(g.size()), g);
      Floats scores(n);
      index_scores(spec, q, g, context.bytes(2) + row.slot * capacity * spec.format.bytes(), scores);
      std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        const em_uint x = em_order(scores[static_cast<size_t>(a)]), y = em_order(scores[static_cast<size_t>(b)]);
        return x != y ? x > y : a < b;
      });
      std::sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(k));
    }
    int32_t* out = context.out_ids(0) + t * spec.top_k;
    std::fill_n(out, spec.top_k, -1);
    std::copy_n(order.begin(), k, out);
  }
}

Cost IndexSelect::work(std::span<const TensorType> in, const Step& step) const {
  const double heads = static_cast<double>(in[0].shape[1]), dim = spec.format.dim;
  Cost cost{.io_bytes = live_bytes(in[0], step.n_rows()) + step.n_rows() * 4.0 * spec.top_k};
  for (const Row& row : step.rows) {
    const int seen = (row.position + 1) / spec.ratio;
    if (seen <= spec.top_k) continue;
    const double entries = seen;
    cost.flops += 2 * entries * heads * dim;
    cost.state_bytes += entries * static_cast<double>(spec.format.bytes());
  }
  return cost;
}

}  // namespace v4rt
