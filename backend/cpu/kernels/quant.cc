#include "ops/quant/quant.h"

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/quant.h"

namespace v4rt {
namespace {

// The rows of an activation [T, ..., n].
struct Rows {
  explicit Rows(const TensorType& x)
      : n(x.shape[-1]),
        per_token(x.shape.rows() / x.shape[0]),
        bytes(n * static_cast<int64_t>(simd::element_bytes(x.dtype))) {}
  int64_t n, per_token, bytes;
};

class FakeQuantKernel final : public CpuKernel {
 public:
  explicit FakeQuantKernel(const OpCall& call) : FakeQuantKernel(op_of<FakeQuant>(call), call.inputs[0]) {}
  FakeQuantKernel(const FakeQuant& op, const TensorType& x)
      : rows_(x),
        dims_(op.dims == 0 ? rows_.n : op.dims),
        block_(op.block),
        quantise_(simd::fake_quant(x.dtype, op.grid)) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows() * rows_.per_token, static_cast<double>(rows_.n),
                         [&](int64_t begin, int64_t end) {
                           for (int64_t r = begin; r < end; ++r) {
                             quantise_(args.data<const std::byte>(0) + r * rows_.bytes, rows_.n, dims_, block_,
                                       args.data<std::byte>(1) + r * rows_.bytes);
                           }
                         });
  }

 private:
  const Rows rows_;
  const int64_t dims_, block_;
  const simd::FakeQuantFn quantise_;
};

class HadamardKernel final : public CpuKernel {
 public:
  explicit HadamardKernel(const OpCall& call)
      : rows_(call.inputs[0]),
        scale_(simd::hadamard_scale(rows_.n)),
        transform_(simd::hadamard(call.inputs[0].dtype)) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows() * rows_.per_token, static_cast<double>(rows_.n) * 8,
                         [&](int64_t begin, int64_t end) {
                           for (int64_t r = begin; r < end; ++r) {
                             transform_(args.data<const std::byte>(0) + r * rows_.bytes, rows_.n, scale_,
                                        args.data<std::byte>(1) + r * rows_.bytes);
                           }
                         });
  }

 private:
  const Rows rows_;
  const float scale_;
  const simd::HadamardFn transform_;
};

Support supports_hadamard(const OpCall& call, const CpuDevice&) {
  if (call.inputs[0].shape[-1] > simd::kMaxHadamard) return Support::no("rows of at most 4096 elements");
  return {};
}

}  // namespace

const CpuEntry kCpuFakeQuant{OpKind::kFakeQuant, "cpu.fake_quant", any_call, make_kernel<FakeQuantKernel>};
const CpuEntry kCpuHadamard{OpKind::kHadamard, "cpu.hadamard", supports_hadamard, make_kernel<HadamardKernel>};

}  // namespace v4rt
