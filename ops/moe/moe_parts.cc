#include <array>

#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/moe/moe.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

// Ranges of the experts of a stack that take at most `max_bytes` each, in any layout.
std::vector<WeightRange> ranges(const TensorType& stack, size_t max_bytes) {
  TensorType one = range_of(stack, {0, 1});
  one.layout = Layout::kRows16;  // the largest
  const auto experts = stack.shape[0];
  const auto within = static_cast<int64_t>(one.bytes() == 0 ? 0 : max_bytes / one.bytes());
  if (within == 0) return {};
  std::vector<WeightRange> cut;
  for (int64_t first = 0; first < experts; first += within) cut.push_back({first, std::min(within, experts - first)});
  return cut;
}

constexpr OpPart::From made_by(size_t part) { return {.input = -1 - static_cast<int>(part)}; }

}  // namespace

std::span<const Alias> MoeGateUp::aliases() const {
  static constexpr std::array<Alias, 1> kInPlace{{{0, 5}}};
  return first > 0 ? std::span<const Alias>(kInPlace) : std::span<const Alias>();
}

std::vector<OpPart> MoeGateUp::expand(std::span<const TensorType> in, size_t max_bytes) const {
  std::vector<OpPart> parts;
  for (const WeightRange& range : ranges(in[3], max_bytes)) {
    OpPart part{std::make_shared<const MoeGateUp>(limit, range.first), {{0}, {1}, {2}, {3, range}, {4, range}}};
    if (!parts.empty()) part.inputs.push_back(made_by(parts.size() - 1));
    parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<OpPart> MoeDown::expand(std::span<const TensorType> in, size_t max_bytes) const {
  std::vector<OpPart> parts;
  for (const WeightRange& range : ranges(in[2], max_bytes)) {
    OpPart part{std::make_shared<const MoeDownParts>(range.first), {{0}, {1}, {2, range}}};
    if (!parts.empty()) part.inputs.push_back(made_by(parts.size() - 1));
    parts.push_back(std::move(part));
  }
  if (!parts.empty()) parts.push_back({std::make_shared<const MoeSum>(), {made_by(parts.size() - 1), {3}}});
  return parts;
}

std::string MoeDownParts::describe() const {
  return first > 0 ? fmt::format("moe_down_parts{{first={}}}", first) : "moe_down_parts";
}

std::vector<TensorType> MoeDownParts::infer(std::span<const TensorType> in) const {
  expect_inputs("moe_down_parts", in, first > 0 ? 4 : 3);
  expect_activation("moe_down_parts", in[0], 3, 3);
  const Shape& x = in[0].shape;
  expect_type("moe_down_parts", "ids", in[1], {DType::kI32, Shape{x[0], x[1]}});
  check(in[2].shape.rank() == 3, Code::kInvalidArgument, "moe_down_parts: weight is {}, expected [E, d, I]",
        to_string(in[2]));
  expect_matrix("moe_down_parts", "weight", in[2], Shape{in[2].shape[0], in[2].shape[1], x[2]});
  const TensorType part{in[0].dtype, Shape{x[0], x[1], in[2].shape[1]}};
  if (first > 0) expect_type("moe_down_parts", "the output so far", in[3], part);
  return {part};
}

void MoeDownParts::reference(RefContext& context) const {
  const Shape& stack = context.input(2).shape;
  const int64_t d = stack[1], inner = stack[2], k = context.input(1).shape[1];
  Floats x(static_cast<size_t>(inner)), w(x.size()), y(static_cast<size_t>(d));
  for (int64_t pick = 0; pick < context.n_rows() * k; ++pick) {
    const int64_t expert = context.ids(1)[pick] - first;
    if (expert < 0 || expert >= stack[0]) continue;
    context.read(0, pick * inner, x);
    for (int64_t n = 0; n < d; ++n) {
      context.read(2, (expert * d + n) * inner, w);
      y[static_cast<size_t>(n)] = dot(x, w);
    }
    context.write(0, pick * d, y);
  }
}

std::span<const Alias> MoeDownParts::aliases() const {
  static constexpr std::array<Alias, 1> kInPlace{{{0, 3}}};
  return first > 0 ? std::span<const Alias>(kInPlace) : std::span<const Alias>();
}

Cost MoeDownParts::work(std::span<const TensorType> in, const Step& step) const {
  const double rows = step.n_rows(), picks = rows * static_cast<double>(in[1].shape[1]);
  const double outputs = picks * static_cast<double>(in[2].shape[1]);
  return {.flops = 2 * outputs * static_cast<double>(in[2].shape[2]),
          .io_bytes = live_bytes(in[0], rows) + outputs * info(in[0].dtype).bytes_per_element()};
}

std::vector<TensorType> MoeSum::infer(std::span<const TensorType> in) const {
  expect_inputs("moe_sum", in, 2);
  expect_activation("moe_sum", in[0], 3, 3);
  expect_type("moe_sum", "shared", in[1], {in[0].dtype, Shape{in[0].shape[0], in[0].shape[2]}});
  return {in[1]};
}

void MoeSum::reference(RefContext& context) const {
  const Shape& parts = context.input(0).shape;
  const int64_t k = parts[1], d = parts[2];
  Floats part(static_cast<size_t>(d)), shared(part.size()), y(part.size());
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    std::fill(y.begin(), y.end(), 0.0f);
    for (int64_t pick = t * k; pick < (t + 1) * k; ++pick) {
      context.read(0, pick * d, part);
      for (size_t n = 0; n < y.size(); ++n) y[n] += part[n];
    }
    context.read(1, t * d, shared);
    for (size_t n = 0; n < y.size(); ++n) y[n] += shared[n];
    context.write(0, t * d, y);
  }
}

Cost MoeSum::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = live_bytes(in[0], step.n_rows()) + 2 * live_bytes(in[1], step.n_rows())};
}

}  // namespace v4rt
