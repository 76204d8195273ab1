#include "ops/rope/rope.h"

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/rope.h"

namespace v4rt {
namespace {

class RopeTailKernel final : public CpuKernel {
 public:
  explicit RopeTailKernel(const OpCall& call)
      : frequencies_(op_of<RopeTail>(call).table.frequencies()),
        sign_(op_of<RopeTail>(call).inverse ? -1.0f : 1.0f),
        dim_(call.inputs[0].shape[-1]),
        heads_(call.inputs[0].shape.rank() == 3 ? call.inputs[0].shape[1] : 1),
        row_bytes_(dim_ * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        rotate_(simd::rotate_tail(call.inputs[0].dtype)) {}

  void run(const CpuArgs& args) const override {
    const auto pairs = static_cast<int64_t>(frequencies_.size());
    args.pool.for_ranges(args.step.n_rows() * heads_, static_cast<double>(dim_) / 2, [&](int64_t begin, int64_t end) {
      alignas(64) float cosine[simd::kMaxRopePairs], sine[simd::kMaxRopePairs];
      for (int64_t r = begin; r < end; ++r) {
        if (r == begin || r % heads_ == 0) {
          const int32_t position = args.step.rows[static_cast<size_t>(r / heads_)].position;
          simd::rope_angles(frequencies_.data(), pairs, position, sign_, cosine, sine);
        }
        rotate_(args.data<const std::byte>(0) + r * row_bytes_, dim_, pairs, cosine, sine,
                args.data<std::byte>(1) + r * row_bytes_);
      }
    });
  }

 private:
  const std::vector<float> frequencies_;
  const float sign_;
  const int64_t dim_, heads_, row_bytes_;
  const simd::RotateFn rotate_;
};

Support supports(const OpCall& call, const CpuDevice&) {
  if (op_of<RopeTail>(call).table.dims > 2 * simd::kMaxRopePairs) return Support::no("at most 1024 rotary dims");
  return {};
}

}  // namespace

const CpuEntry kCpuRopeTail{OpKind::kRopeTail, "cpu.rope_tail", supports, make_kernel<RopeTailKernel>};

}  // namespace v4rt
