#include "ops/norm/norm.h"

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/norm.h"

namespace v4rt {
namespace {

class RmsNormKernel final : public CpuKernel {
 public:
  explicit RmsNormKernel(const OpCall& call)
      : eps_(op_of<RmsNorm>(call).eps),
        live_(op_of<RmsNorm>(call).rows),
        n_(call.inputs[0].shape[-1]),
        rows_per_token_(call.inputs[0].shape.rows() / call.inputs[0].shape[0]),
        row_bytes_(n_ * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        norm_(simd::rms_norm(call.inputs[0].dtype, call.inputs[1].dtype)) {}

  void run(const CpuArgs& args) const override {
    const int64_t rows = live_rows(args.step, live_) * rows_per_token_;
    args.pool.for_ranges(rows, static_cast<double>(n_), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        norm_(args.data<const std::byte>(0) + r * row_bytes_, args.data<const std::byte>(1), n_, eps_,
              args.data<std::byte>(2) + r * row_bytes_);
      }
    });
  }

 private:
  const float eps_;
  const LiveRows live_;
  const int64_t n_, rows_per_token_, row_bytes_;
  const simd::RmsNormFn norm_;
};

class HeadRmsKernel final : public CpuKernel {
 public:
  explicit HeadRmsKernel(const OpCall& call)
      : eps_(op_of<HeadRms>(call).eps),
        heads_(call.inputs[0].shape[1]),
        dim_(call.inputs[0].shape[2]),
        row_bytes_(dim_ * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        norm_(simd::head_rms(call.inputs[0].dtype)) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows() * heads_, static_cast<double>(dim_), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        norm_(args.data<const std::byte>(0) + r * row_bytes_, dim_, eps_, args.data<std::byte>(1) + r * row_bytes_);
      }
    });
  }

 private:
  const float eps_;
  const int64_t heads_, dim_, row_bytes_;
  const simd::HeadRmsFn norm_;
};

}  // namespace

const CpuEntry kCpuRmsNorm{OpKind::kRmsNorm, "cpu.rms_norm", any_call, make_kernel<RmsNormKernel>};
const CpuEntry kCpuHeadRms{OpKind::kHeadRms, "cpu.head_rms", any_call, make_kernel<HeadRmsKernel>};

}  // namespace v4rt
