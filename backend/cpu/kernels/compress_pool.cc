#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/norm.h"
#include "backend/cpu/simd/pool.h"
#include "backend/cpu/simd/quant.h"
#include "backend/cpu/simd/rope.h"
#include "ops/attention/attention.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

constexpr int64_t kMaxPool = 1024;  // rows of a pool: their addresses are on the stack
constexpr int64_t kChannels = 128;  // channels per task

// Entries that the chunk completes are pooled channel by channel, then each is normed, rotated and encoded as a row.
// Scratch: the rows that complete an entry; per entry its sums and two rows of the activation type.
class CompressPoolKernel final : public CpuKernel {
 public:
  explicit CompressPoolKernel(const OpCall& call) : CompressPoolKernel(op_of<CompressPool>(call).spec, call) {}

  CompressPoolKernel(const CompressSpec& spec, const OpCall& call)
      : spec_(spec),
        dim_(spec.format.dim),
        width_(spec.width()),
        pool_rows_(spec.pending_rows()),
        pending_rows_(call.inputs[1].shape[1]),
        tokens_(call.inputs[0].shape[0]),
        frequencies_(spec.table.frequencies()),
        scale_(simd::hadamard_scale(dim_)),
        act_(simd::elementwise(activation())),
        norm_(simd::rms_norm(activation(), call.inputs[3].dtype)),
        rotate_(simd::rotate_tail(activation())),
        hadamard_(simd::hadamard(activation())),
        encode_(simd::encode_row(activation())) {
    scratch_bytes = static_cast<size_t>(tokens_ * (1 + 3 * dim_)) * sizeof(float);
  }

  void run(const CpuArgs& args) const override {
    auto* completing = args.scratch<int32_t>();
    int64_t entries = 0;
    for (int32_t t = 0; t < args.step.n_rows(); ++t) {
      if ((args.step.rows[static_cast<size_t>(t)].position + 1) % spec_.ratio == 0) completing[entries++] = t;
    }
    const int64_t pieces = ceil_div(dim_, kChannels);
    args.pool.for_ranges(entries * pieces, 15.0 * static_cast<double>(pool_rows_ * std::min(dim_, kChannels)),
                         [&](int64_t begin, int64_t end) {
                           for (int64_t i = begin; i < end; ++i) {
                             const int64_t first = i % pieces * kChannels;
                             pool(args, completing[i / pieces], first, std::min(first + kChannels, dim_),
                                  sums(args, i / pieces));
                           }
                         });
    args.pool.for_ranges(entries, 20.0 * static_cast<double>(dim_), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) finish(args, completing[i], sums(args, i));
    });
  }

 private:
  DType activation() const { return spec_.rounds ? DType::kBF16 : DType::kF32; }
  float* sums(const CpuArgs& args, int64_t entry) const { return args.scratch<float>() + tokens_ + entry * 3 * dim_; }

  // Pool row i is position p - pool_rows + 1 + i; with overlap the first half uses channels [0, C), the second [C, 2C).
  void pool(const CpuArgs& args, int32_t t, int64_t begin, int64_t end, float* entry) const {
    const Row& row = args.step.rows[static_cast<size_t>(t)];
    simd::PoolRow rows[kMaxPool];
    int64_t n = 0;
    for (int64_t i = 0; i < pool_rows_; ++i) {
      const auto back = static_cast<int32_t>(pool_rows_ - 1 - i);
      const int32_t q = row.position - back;
      if (q < 0) continue;
      const bool in_chunk = t - back >= row.first;
      const int64_t at = in_chunk ? t - back : row.slot * pending_rows_ + q % pending_rows_;
      const int64_t first = spec_.overlap && i >= spec_.ratio ? dim_ : 0;
      const float* values = args.data<const float>(in_chunk ? 0 : 1) + at * 2 * width_ + first;
      rows[n++] = {values, values + width_, args.data<const float>(2) + q % spec_.ratio * width_ + first};
    }
    simd::pool_channels(rows, n, begin, end, entry);
  }

  void finish(const CpuArgs& args, int32_t t, float* sums) const {
    const Row& row = args.step.rows[static_cast<size_t>(t)];
    void *x = sums + dim_, *y = sums + 2 * dim_;
    act_.narrow(sums, dim_, x);
    norm_(x, args.data<const std::byte>(3), dim_, spec_.eps, y);
    alignas(64) float cosine[simd::kMaxRopePairs], sine[simd::kMaxRopePairs];
    const auto pairs = static_cast<int64_t>(frequencies_.size());
    simd::rope_angles(frequencies_.data(), pairs, row.position / spec_.ratio * spec_.ratio, 1.0f, cosine, sine);
    rotate_(y, dim_, pairs, cosine, sine, x);
    if (spec_.hadamard) {
      hadamard_(x, dim_, scale_, y);
      std::swap(x, y);
    }
    const int64_t entry = row.slot * args[5].type.shape[1] + row.position / spec_.ratio;
    encode_(spec_.format, x, args.data<uint8_t>(5) + entry * spec_.format.bytes());
  }

  const CompressSpec spec_;
  const int64_t dim_, width_, pool_rows_, pending_rows_, tokens_;
  const std::vector<float> frequencies_;
  const float scale_;
  const simd::ElementwiseFns& act_;
  const simd::RmsNormFn norm_;
  const simd::RotateFn rotate_;
  const simd::HadamardFn hadamard_;
  const simd::EncodeFn encode_;
};

Support supports(const OpCall& call, const CpuDevice&) {
  const CompressSpec& spec = op_of<CompressPool>(call).spec;
  if (spec.pending_rows() > kMaxPool) return Support::no("at most 1024 rows are pooled");
  if (spec.table.dims > 2 * simd::kMaxRopePairs) return Support::no("at most 1024 rotary dims");
  if (spec.hadamard && spec.format.dim > simd::kMaxHadamard) return Support::no("rows of at most 4096 elements");
  return {};
}

}  // namespace

const CpuEntry kCpuCompressPool{OpKind::kCompressPool, "cpu.compress_pool", supports, make_kernel<CompressPoolKernel>};

}  // namespace v4rt
