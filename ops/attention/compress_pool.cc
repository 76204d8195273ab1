#include <algorithm>
#include <bit>
#include <limits>

#include "ops/attention/attention.h"
#include "ops/core/exact_math.h"
#include "ops/infer.h"
#include "ops/norm/norm.h"
#include "ops/quant/quant.h"
#include "ops/ref_context.h"

namespace v4rt {

static constexpr Alias kCache[] = {{0, 4}};

std::string CompressPool::describe() const {
  return fmt::format("compress_pool{{ratio={},overlap={},{},{},eps={},rounds={},hadamard={}}}", spec.ratio,
                     spec.overlap, spec.format.describe(), spec.table.describe(), spec.eps, spec.rounds, spec.hadamard);
}

Input CompressPool::input(size_t index) const {
  switch (index) {
    case 0: return {};
    case 1:
      return {.role = Role::kState,
              .rows = {.format = spec.pending_format(), .back = spec.pending_rows() - spec.ratio, .block = spec.ratio}};
    case 4: return {.role = Role::kState, .rows = {.format = spec.format, .positions = spec.ratio}};
    default: return {.role = Role::kWeight};
  }
}

std::vector<TensorType> CompressPool::infer(std::span<const TensorType> in) const {
  expect_inputs("compress_pool", in, 5);
  const int64_t width = spec.width(), dim = spec.format.dim;
  check(in[0].dtype == DType::kF32 && in[0].shape.rank() == 2 && in[0].shape[1] == 2 * width, Code::kInvalidArgument,
        "compress_pool: values and scores are {}, expected f32 [T, {}]", to_string(in[0]), 2 * width);
  check(in[1].dtype == DType::kF32 && in[1].shape.rank() == 3 && in[1].shape[1] >= spec.pending_rows() &&
            in[1].shape[2] == 2 * width,
        Code::kInvalidArgument, "compress_pool: pending is {}, expected f32 [slots, {} or more, {}]", to_string(in[1]),
        spec.pending_rows(), 2 * width);
  const int64_t slots = in[1].shape[0];
  expect_type("compress_pool", "ape", in[2], {DType::kF32, Shape{spec.ratio, width}});
  expect_norm("compress_pool", in[3], dim);
  check(in[4].dtype == DType::kU8 && in[4].shape.rank() == 3 && in[4].shape[0] == slots &&
            in[4].shape[2] == spec.format.bytes(),
        Code::kInvalidArgument, "compress_pool: cache is {}, expected u8 [{}, entries, {}]", to_string(in[4]), slots,
        spec.format.bytes());
  check(!spec.hadamard || std::has_single_bit(static_cast<uint64_t>(dim)), Code::kInvalidArgument,
        "compress_pool: hadamard needs a power of two, not {}", dim);
  return {in[4]};
}

std::span<const Alias> CompressPool::aliases() const { return kCache; }

namespace {

void round_all(std::span<float> x, bool rounds) {
  if (!rounds) return;
  for (float& v : x) v = em_bf16(v);
}

// Pool and finish the entry that row t completes.
class Entry {
 public:
  Entry(const CompressSpec& spec, std::span<const float> frequencies, RefContext& context)
      : spec_(spec),
        frequencies_(frequencies),
        context_(context),
        ape_(context.read(2)),
        norm_(context.read(3)),
        row_(static_cast<size_t>(2 * spec.width())),
        values_(pool_rows() * dim()),
        scores_(values_.size()) {}

  Floats form(int64_t t) {
    gather(t);
    const int32_t position = context_.step().rows[static_cast<size_t>(t)].position;
    Floats entry = softmax_pool(position < spec_.ratio && spec_.overlap ? static_cast<size_t>(spec_.ratio) : 0);
    round_all(entry, spec_.rounds);
    rms_norm_row(entry, norm_, spec_.eps);
    round_all(entry, spec_.rounds);
    rotate_tail(entry, frequencies_, position / spec_.ratio * spec_.ratio, 1.0f);
    round_all(entry, spec_.rounds);
    if (spec_.hadamard) {
      hadamard_row(entry);
      round_all(entry, spec_.rounds);
    }
    return entry;
  }

 private:
  size_t pool_rows() const { return static_cast<size_t>(spec_.pending_rows()); }
  size_t dim() const { return static_cast<size_t>(spec_.format.dim); }

  // Pool row i is position p - pool_rows + 1 + i; with overlap the first half uses channels [0, C), the second [C, 2C).
  void gather(int64_t t) {
    const Row& row = context_.step().rows[static_cast<size_t>(t)];
    const auto width = static_cast<size_t>(spec_.width());
    for (size_t i = 0; i < pool_rows(); ++i) {
      const int32_t back = static_cast<int32_t>(pool_rows() - 1 - i);
      const int32_t q = row.position - back;
      if (q < 0) continue;
      if (t - back >= row.first) {
        context_.read(0, (t - back) * static_cast<int64_t>(row_.size()), row_);
      } else {
        const int64_t rows = context_.input(1).shape[1];
        context_.read(1, (row.slot * rows + q % rows) * static_cast<int64_t>(row_.size()), row_);
      }
      const size_t first = spec_.overlap && i >= static_cast<size_t>(spec_.ratio) ? dim() : 0;
      const float* ape = ape_.data() + static_cast<size_t>(q % spec_.ratio) * width + first;
      for (size_t ch = 0; ch < dim(); ++ch) {
        values_[i * dim() + ch] = row_[first + ch];
        scores_[i * dim() + ch] = row_[width + first + ch] + ape[ch];
      }
    }
  }

  // Over pool rows [begin, end).
  Floats softmax_pool(size_t begin) const {
    Floats entry(dim());
    for (size_t ch = 0; ch < dim(); ++ch) {
      float maximum = -std::numeric_limits<float>::infinity();
      for (size_t i = begin; i < pool_rows(); ++i) maximum = em_max(scores_[i * dim() + ch], maximum);
      float sum = 0, acc = 0;
      for (size_t i = begin; i < pool_rows(); ++i) {
        const float e = em_weight(scores_[i * dim() + ch] - maximum);
        sum += e;
        acc = em_fma(e, values_[i * dim() + ch], acc);
      }
      entry[ch] = em_div(acc, sum);
    }
    return entry;
  }

  const CompressSpec& spec_;
  const std::span<const float> frequencies_;
  RefContext& context_;
  const Floats ape_, norm_;
  Floats row_;              // of one position: values, then scores
  Floats values_, scores_;  // [pool rows, C]
};

}  // namespace

void CompressPool::reference(RefContext& context) const {
  const int64_t capacity = context.input(4).shape[1];
  Entry entry(spec, frequencies, context);
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    const Row& row = context.step().rows[static_cast<size_t>(t)];
    if ((row.position + 1) % spec.ratio != 0) continue;
    uint8_t* to = context.out_bytes(0) + (row.slot * capacity + row.position / spec.ratio) * spec.format.bytes();
    encode_row(spec.format, entry.form(t), to);
  }
}

Cost CompressPool::work(std::span<const TensorType> in, const Step& step) const {
  double entries = 0;
  for (const Row& row : step.rows) entries += (row.position + 1) % spec.ratio == 0 ? 1 : 0;
  return {.state_bytes = entries * static_cast<double>(spec.format.bytes()),
          .io_bytes = live_bytes(in[0], step.n_rows())};
}

}  // namespace v4rt
