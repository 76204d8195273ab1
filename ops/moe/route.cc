#include <algorithm>
#include <numeric>

#include "ops/core/exact_math.h"
#include "ops/infer.h"
#include "ops/moe/moe.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

std::vector<TensorType> route_outputs(std::string_view op, const TensorType& z, int k) {
  check(z.dtype == DType::kF32 && z.shape.rank() == 2, Code::kInvalidArgument,
        "{}: router logits are {}, expected f32 [T, E]", op, to_string(z));
  check(k > 0 && k <= z.shape[1], Code::kInvalidArgument, "{}: cannot choose {} of {} experts", op, k, z.shape[1]);
  return {{DType::kI32, Shape{z.shape[0], k}}, {DType::kF32, Shape{z.shape[0], k}}};
}

Floats router_scores(RefContext& context, int64_t t) {
  Floats s(static_cast<size_t>(context.input(0).shape[1]));
  context.read(0, t * static_cast<int64_t>(s.size()), s);
  for (float& v : s) v = em_sqrt(em_softplus(v));
  return s;
}

// Sorts the chosen experts and writes them with their normalised weights.
void write_route(RefContext& context, int64_t t, Ints chosen, std::span<const float> scores, float scale) {
  std::sort(chosen.begin(), chosen.end());
  float sum = 0;
  for (int32_t e : chosen) sum += scores[static_cast<size_t>(e)];
  Floats weights(chosen.size());
  for (size_t i = 0; i < chosen.size(); ++i)
    weights[i] = em_flush(em_div(scores[static_cast<size_t>(chosen[i])], sum)) * scale;
  const auto k = static_cast<int64_t>(chosen.size());
  std::copy(chosen.begin(), chosen.end(), context.out_ids(0) + t * k);
  context.write(1, t * k, weights);
}

}  // namespace

std::string RouteTopK::describe() const { return fmt::format("route_topk{{k={},scale={}}}", k, scale); }

std::vector<TensorType> RouteTopK::infer(std::span<const TensorType> in) const {
  expect_inputs("route_topk", in, 2);
  auto out = route_outputs("route_topk", in[0], k);
  expect_type("route_topk", "bias", in[1], {DType::kF32, Shape{in[0].shape[1]}});
  return out;
}

void RouteTopK::reference(RefContext& context) const {
  const Floats bias = context.read(1);
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    const Floats s = router_scores(context, t);
    Ints order(s.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      const auto i = static_cast<size_t>(a), j = static_cast<size_t>(b);
      const em_uint x = em_order(s[i] + bias[i]), y = em_order(s[j] + bias[j]);
      return x != y ? x > y : a < b;
    });
    order.resize(static_cast<size_t>(k));
    write_route(context, t, std::move(order), s, scale);
  }
}

Cost RouteTopK::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = live_bytes(in[0], step.n_rows())};
}

std::string RouteHash::describe() const { return fmt::format("route_hash{{k={},scale={}}}", k, scale); }

std::vector<TensorType> RouteHash::infer(std::span<const TensorType> in) const {
  expect_inputs("route_hash", in, 3);
  auto out = route_outputs("route_hash", in[0], k);
  check(in[1].dtype == DType::kI32 && in[1].shape.rank() == 2 && in[1].shape[1] == k, Code::kInvalidArgument,
        "route_hash: table is {}, expected i32 [V, {}]", to_string(in[1]), k);
  expect_type("route_hash", "tokens", in[2], {DType::kI32, Shape{in[0].shape[0]}});
  return out;
}

void RouteHash::reference(RefContext& context) const {
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    const int32_t* row = context.ids(1) + int64_t{context.ids(2)[t]} * k;
    write_route(context, t, Ints(row, row + k), router_scores(context, t), scale);
  }
}

Cost RouteHash::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = live_bytes(in[0], step.n_rows())};
}

}  // namespace v4rt
