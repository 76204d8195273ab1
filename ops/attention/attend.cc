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

Input Attend::input(size_t index) const {
  switch (index) {
    case 1: return {.role = Role::kState, .rows = {.format = spec.format, .back = spec.window - 1}};
    case 2: return {.role = Role::kWeight};
    case 3: return {.role = Role::kState, .rows = {.format = spec.format, .positions = spec.ratio}};
    default: return {};
  }
}

std::vector<TensorType> Attend::infer(std::span<const TensorType> in) const {
  expect_inputs("attend", in, spec.top_k > 0 ? 5 : (spec.ratio > 0 ? 4 : 3));
  expect_activation("attend", in[0], 3, 3);
  const Shape& q = in[0].shape;
  check(q[2] == spec.format.dim, Code::kInvalidArgument, "attend: queries {} do not match rows {}", to_string(in[0]),
        spec.format.describe());
  const auto expect_rows = [&](std::string_view what, const TensorType& type, int64_t at_least) {
    check(type.dtype == DType::kU8 && type.shape.rank() == 3 && type.shape[2] == spec.format.bytes() &&
              type.shape[1] >= at_least,
          Code::kInvalidArgument, "attend: {} is {}, expected u8 [slots, >= {}, {}]", what, to_string(type), at_least,
          spec.format.bytes());
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
RefVector<const uint8_t*> visible_rows(const AttendSpec& spec, RefContext& context, int64_t t) {
  const Row& row = context.step().rows[static_cast<size_t>(t)];
  const int64_t width = spec.format.bytes(), ring_rows = context.input(1).shape[1];
  const uint8_t* ring = context.bytes(1) + row.slot * ring_rows * width;
  const int32_t first = std::max(0, row.position - spec.window + 1);
  RefVector<const uint8_t*> rows;
  const int seen = spec.ratio == 0 ? 0 : (row.position + 1) / spec.ratio;
  rows.reserve(static_cast<size_t>(spec.window) + static_cast<size_t>(std::max(spec.top_k, seen)));
  rows.resize(static_cast<size_t>(spec.window), nullptr);
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
  HeadState(const AttendSpec& spec, std::span<const float> q) : spec_(&spec), q_(q), acc_(q.size()) {}

  // Decoded rows [block, D]; only live ones count.
  void add_block(std::span<const float> rows, std::span<const uint8_t> live) {
    const auto row = [&](size_t i) { return rows.subspan(i * q_.size(), q_.size()); };
    std::array<float, kBlock> e{};
    float maximum = maximum_;
    for (size_t i = 0; i < live.size(); ++i) {
      if (live[i] == 0) continue;
      e[i] = dot(q_, row(i)) * spec_->scale;
      maximum = em_max(e[i], maximum);
    }
    const float rescale = em_weight(maximum_ - maximum);
    maximum_ = maximum;
    for (float& a : acc_) a *= rescale;
    for (size_t i = 0; i < live.size(); ++i) e[i] = live[i] == 0 ? 0.0f : em_weight(e[i] - maximum);
    std::array<float, kBlock> lanes = e;
    sum_ = sum_ * rescale + fold64(lanes);
    for (size_t begin = 0; begin < kBlock; begin += kDotBlock) {
      Floats chains[2] = {Floats(q_.size()), Floats(q_.size())};
      for (size_t i = begin; i < std::min<size_t>(begin + kDotBlock, live.size()); ++i) {
        if (live[i] != 0) add(row(i), e[i], chains[(i - begin) / kDotChain]);
      }
      for (size_t d = 0; d < acc_.size(); ++d) acc_[d] += chains[0][d] + chains[1][d];
    }
  }

  std::span<const float> finish(float sink) {
    const float z = sum_ + em_exp(sink - maximum_);
    for (float& a : acc_) a = em_div(a, z);
    return acc_;
  }

 private:
  void add(std::span<const float> row, float e, Floats& chain) const {
    const float weight = spec_->rounds ? em_bf16(e) : e;
    for (size_t d = 0; d < row.size(); ++d) chain[d] = em_fma(weight, row[d], chain[d]);
  }

  const AttendSpec* spec_;
  std::span<const float> q_;
  Floats acc_;
  float maximum_ = -std::numeric_limits<float>::infinity(), sum_ = 0;
};

}  // namespace

void Attend::reference(RefContext& context) const {
  const Shape& shape = context.input(0).shape;
  const int64_t heads = shape[1];
  const auto dim = static_cast<size_t>(shape[2]);
  const Floats sink = context.read(2);
  Floats q(static_cast<size_t>(heads) * dim), block(kBlock * dim);
  std::array<uint8_t, kBlock> live{};
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    context.read(0, t * static_cast<int64_t>(q.size()), q);
    RefVector<HeadState> states;
    states.reserve(static_cast<size_t>(heads));
    for (size_t h = 0; h < static_cast<size_t>(heads); ++h)
      states.emplace_back(spec, std::span(q).subspan(h * dim, dim));
    const RefVector<const uint8_t*> rows = visible_rows(spec, context, t);
    for (size_t begin = 0; begin < rows.size(); begin += kBlock) {
      const auto part = std::span<const uint8_t* const>(rows).subspan(begin, std::min(kBlock, rows.size() - begin));
      std::fill(live.begin(), live.end(), uint8_t{0});
      for (size_t i = 0; i < part.size(); ++i) {
        if (part[i] == nullptr) continue;
        decode_row(spec.format, part[i], std::span(block).subspan(i * dim, dim));
        live[i] = 1;
      }
      if (std::find(live.begin(), live.end(), uint8_t{1}) == live.end()) continue;
      for (HeadState& state : states) state.add_block(block, std::span(live).first(part.size()));
    }
    for (size_t h = 0; h < states.size(); ++h) {
      context.write(0, (t * heads + static_cast<int64_t>(h)) * static_cast<int64_t>(dim), states[h].finish(sink[h]));
    }
  }
}

Cost Attend::work(std::span<const TensorType> in, const Step& step) const {
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
