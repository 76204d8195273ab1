#include <algorithm>
#include <array>
#include <limits>

#include "ops/attention/attention.h"
#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::string Attend::describe() const {
  return fmt::format("attend{{window={},ratio={},k={},{},scale={},rounds={}}}", spec.window, spec.ratio, spec.top_k,
                     spec.format.describe(), spec.scale, spec.rounds);
}

std::vector<TensorType> Attend::infer(std::span<const TensorType> in) const {
  expect_inputs("attend", in, spec.top_k > 0 ? 5 : (spec.ratio > 0 ? 4 : 3));
  expect_activation("attend", in[0], 3, 3);
  const Shape& q = in[0].shape;
  check(q[2] == spec.format.dim, Code::kInvalidArgument, "attend: queries {} do not match rows {}", to_string(in[0]), spec.format.describe());
  const auto expect_rows = [&](std::string_view what, const TensorType& type, int64_t at_least) {
    check(type.dtype == DType::kU8 && type.shape.rank() == 3 && type.shape[2] == spec.format.bytes() && type.shape[1] >= at_least,
          Code::kInvalidArgument, "attend: {} is {}, expected u8 [slots, >= {}, {}]", what, to_string(type), at_least, spec.format.bytes());
  };
  expect_rows("ring", in[1], spec.window);
  expect_type("attend", "sink", in[2], {DType::kF32, Shape{q[1]}});
  if (spec.ratio > 0) expect_rows("cache", in[3], 0);
  if (spec.top_k > 0) expect_type("attend", "idx", in[4], {DType::kI32, Shape{q[0], spec.top_k}});
  check(spec.top_k == 0 || spec.ratio > 0, Code::kInvalidArgument, "attend: top_k needs a compressed cache");
  return {in[0]};
}

namespace {

constexpr size_t kBlock = 64;

// The rows that one query sees, in slots (-1 bytes: masked).
std::vector<const uint8_t*> visible_rows(const AttendSpec& spec, RefContext& context, int64_t t) {
  const Row& row = context.step().rows[static_cast<size_t>(t)];
  const int64_t width = spec.format.bytes(), ring_rows = context.input(1).shape[1];
  const uint8_t* ring = context.bytes(1) + row.slot * ring_rows * width;
  const int32_t first = std::max(0, row.position - spec.window + 1);
  std::vector<const uint8_t*> rows(static_cast<size_t>(spec.window), nullptr);
  for (int32_t p = first; p <= row.position; ++p) rows[static_cast<size_t>(p - first)] = ring + p % ring_rows * width;
  if (spec.ratio == 0) return rows;
  const int64_t capacity = context.input(3).shape[1];
  const uint8_t* cache = context.bytes(3) + row.slot * capacity * width;
  const int32_t entries = spec.top_k > 0 ? spec.top_k : (row.position + 1) / spec.ratio;
  for (int32_t i = 0; i < entries; ++i) {
    const int32_t entry = spec.top_k > 0 ? context.ids(4)[t * spec.top_k + i] : i;
    rows.push_back(entry < 0 ? nullptr : cache + entry * width);
  }
  return rows;
}

// Online softmax over blocks of slots for one head.
class HeadState {
 public:
  HeadState(const AttendSpec& spec, std::span<const float> q) : spec_(spec), q_(q), acc_(q.size()) {}

  // rows[i]: decoded row of the block's slot i; empty when masked.
  void add_block(std::span<const std::vector<float>> rows) {
    std::array<float, kBlock> e{};
    float maximum = maximum_;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].empty()) continue;
      e[i] = dot(q_, rows[i]) * spec_.scale;
      maximum = em_max(maximum, e[i]);
    }
    const float rescale = em_exp(maximum_ - maximum);
    maximum_ = maximum;
    for (float& a : acc_) a *= rescale;
    for (size_t i = 0; i < rows.size(); ++i) e[i] = rows[i].empty() ? 0.0f : em_exp(e[i] - maximum);
    std::array<float, kBlock> lanes = e;
    sum_ = sum_ * rescale + fold64(lanes);
    for (size_t i = 0; i < rows.size(); i += 2) {
      if (i + 1 < rows.size()) add(rows[i + 1], e[i + 1]);
      add(rows[i], e[i]);
    }
  }

  std::span<const float> finish(float sink) {
    const float z = sum_ + em_exp(sink - maximum_);
    for (float& a : acc_) a = em_div(a, z);
    return acc_;
  }

 private:
  void add(std::span<const float> row, float e) {
    const float weight = spec_.rounds ? em_bf16(e) : e;
    for (size_t d = 0; d < row.size(); ++d) acc_[d] = em_fma(weight, row[d], acc_[d]);
  }

  const AttendSpec& spec_;
  std::span<const float> q_;
  std::vector<float> acc_;
  float maximum_ = -std::numeric_limits<float>::infinity(), sum_ = 0;
};

}  // namespace

void Attend::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t heads = shape[1];
  const auto dim = static_cast<size_t>(shape[2]);
  const std::vector<float> sink = context.read(2);
  std::vector<float> q(static_cast<size_t>(heads) * dim);
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    context.read(0, t * static_cast<int64_t>(q.size()), q);
    std::vector<HeadState> states;
    for (size_t h = 0; h < static_cast<size_t>(heads); ++h) states.emplace_back(spec, std::span(q).subspan(h * dim, dim));
    const std::vector<const uint8_t*> rows = visible_rows(spec, context, t);
    for (size_t begin = 0; begin < rows.size(); begin += kBlock) {
      std::vector<std::vector<float>> block(std::min(kBlock, rows.size() - begin));
      bool live = false;
      for (size_t i = 0; i < block.size(); ++i) {
        if (rows[begin + i] == nullptr) continue;
        block[i].resize(dim);
        decode_row(spec.format, rows[begin + i], block[i]);
        live = true;
      }
      if (!live) continue;
      for (HeadState& state : states) state.add_block(block);
    }
    for (size_t h = 0; h < states.size(); ++h) {
      context.write(0, (t * heads + static_cast<int64_t>(h)) * static_cast<int64_t>(dim), states[h].finish(sink[h]));
    }
  }
}

Cost Attend::cost(std::span<const TensorType> in, const Step& step) const {
  const double per_row = static_cast<double>(in[0].shape[1] * in[0].shape[2]) * 4;  // scores and values
  Cost cost{.io_bytes = 2 * live_bytes(in[0], step.n_rows())};
  for (const Row& row : step.rows) {
    double seen = std::min(row.position + 1, spec.window);
    if (spec.ratio > 0) {
      const int32_t entries = (row.position + 1) / spec.ratio;
      seen += spec.top_k > 0 ? std::min(entries, spec.top_k) : entries;
    }
    cost.flops += per_row * seen;
    cost.state_bytes += seen * static_cast<double>(spec.format.bytes());
  }
  return cost;
}

}  // namespace v4rt
