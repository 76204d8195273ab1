#include "ops/hyper/hyper.h"

#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/hyper.h"
#include "backend/cpu/simd/norm.h"
#include "ops/core/arith.h"

namespace v4rt {
namespace {

constexpr int64_t kFnRows = 6;      // rows of fn per task
constexpr int64_t kChannels = 512;  // channels per task

// hc_pre and hc_head: first the dots with the rows of fn, spread over rows and tokens; then one thread finishes each
// token. Scratch holds a row of dots and the sum of squares per token.
class MixKernel : public CpuKernel {
 public:
  MixKernel(const HyperSpec& spec, const OpCall& call)
      : spec_(spec),
        d_(call.inputs[0].shape[2]),
        width_(spec.streams * d_),
        mixes_(call.inputs[1].shape[0]),
        row_bytes_(width_ * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        fns_(simd::hyper(call.inputs[0].dtype)),
        norm_(simd::rms_norm(call.inputs[0].dtype, call.inputs[4].dtype)) {
    scratch_bytes = static_cast<size_t>(call.inputs[0].shape[0] * (mixes_ + 1)) * sizeof(float);
  }

 protected:
  // finish(t, dots, sum of squares) turns the dots into mixing weights; returns those of the collapse.
  template <class Finish>
  void run_rows(const CpuArgs& args, int64_t rows, const Finish& finish) const {
    const int64_t parts = ceil_div(mixes_, kFnRows);
    args.pool.for_ranges(rows * parts, static_cast<double>(width_ * kFnRows), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) add_dots(args, i % rows, i / rows * kFnRows);
    });
    args.pool.for_ranges(rows, static_cast<double>(width_ + 2000), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        float* dots = dots_of(args, t);
        collapse(args, t, finish(t, dots, dots[mixes_]));
      }
    });
  }

  const HyperSpec spec_;
  const int64_t d_, width_, mixes_, row_bytes_;

 private:
  float* dots_of(const CpuArgs& args, int64_t t) const { return args.scratch<float>() + t * (mixes_ + 1); }
  const std::byte* streams(const CpuArgs& args, int64_t t) const {
    return args.data<const std::byte>(0) + t * row_bytes_;
  }

  void add_dots(const CpuArgs& args, int64_t t, int64_t first) const {
    float* dots = dots_of(args, t);
    if (first == 0) dots[mixes_] = fns_.sum_of_squares(streams(args, t), width_);
    const int64_t n = std::min(kFnRows, mixes_ - first);
    fns_.dots(streams(args, t), args.data<const float>(1) + first * width_, width_, n, dots + first);
  }

  void collapse(const CpuArgs& args, int64_t t, const float* weights) const {
    std::byte* x = args.data<std::byte>(5) + t * (row_bytes_ / spec_.streams);
    fns_.collapse(streams(args, t), weights, spec_.streams, d_, 0, d_, x);
    norm_(x, args.data<const std::byte>(4), d_, spec_.rms_eps, x);
  }

  const simd::HyperFns& fns_;
  const simd::RmsNormFn norm_;
};

class HcPreKernel final : public MixKernel {
 public:
  explicit HcPreKernel(const OpCall& call) : MixKernel(op_of<HcPre>(call).spec, call) {}

  void run(const CpuArgs& args) const override {
    run_rows(args, args.step.n_rows(), [&](int64_t t, const float* dots, float sum_of_squares) {
      float* mix = args.data<float>(6) + t * mixes_;
      std::copy_n(dots, mixes_, mix);
      simd::hyper_mix(spec_, sum_of_squares, width_, args.data<const float>(2), args.data<const float>(3), mix);
      return mix;
    });
  }
};

class HcHeadKernel final : public MixKernel {
 public:
  explicit HcHeadKernel(const OpCall& call)
      : MixKernel(op_of<HcHead>(call).spec, call), live_(op_of<HcHead>(call).rows) {}

  void run(const CpuArgs& args) const override {
    run_rows(args, live_rows(args.step, live_), [&](int64_t, float* dots, float sum_of_squares) {
      simd::hyper_head(spec_, sum_of_squares, width_, args.data<const float>(2), args.data<const float>(3), dots);
      return dots;
    });
  }

 private:
  const LiveRows live_;
};

class HcPostKernel final : public CpuKernel {
 public:
  explicit HcPostKernel(const OpCall& call)
      : m_(call.inputs[1].shape[1]),
        d_(call.inputs[1].shape[2]),
        f_bytes_(d_ * static_cast<int64_t>(simd::element_bytes(call.inputs[1].dtype))),
        fns_(simd::hyper(call.inputs[1].dtype)) {}

  void run(const CpuArgs& args) const override {
    const int64_t parts = ceil_div(d_, kChannels), piece = std::min(d_, kChannels);
    args.pool.for_ranges(
        args.step.n_rows() * parts, static_cast<double>(piece * m_ * (m_ + 2)) / 4, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t t = i / parts, first = i % parts * kChannels;
            fns_.post(args.data<const std::byte>(0) + t * f_bytes_, args.data<const std::byte>(1) + t * m_ * f_bytes_,
                      args.data<const float>(2) + t * (2 * m_ + m_ * m_), m_, d_, first,
                      std::min(first + kChannels, d_), args.data<std::byte>(3) + t * m_ * f_bytes_);
          }
        });
  }

 private:
  const int64_t m_, d_, f_bytes_;
  const simd::HyperFns& fns_;
};

Support supports_mix(const OpCall& call, const CpuDevice&) {
  if (call.inputs[1].layout != Layout::kRows) return Support::no("fn must be row-major");
  if (call.inputs[0].shape[1] > simd::kMaxStreams) return Support::no("at most 16 streams");
  return {};
}

}  // namespace

const CpuEntry kCpuHcPre{OpKind::kHcPre, "cpu.hc_pre", supports_mix, make_kernel<HcPreKernel>};
const CpuEntry kCpuHcHead{OpKind::kHcHead, "cpu.hc_head", supports_mix, make_kernel<HcHeadKernel>};
const CpuEntry kCpuHcPost{OpKind::kHcPost, "cpu.hc_post", any_call, make_kernel<HcPostKernel>};

}  // namespace v4rt
