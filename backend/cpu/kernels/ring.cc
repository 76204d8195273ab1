#include <cstring>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/quant.h"
#include "ops/attention/attention.h"

namespace v4rt {
namespace {

class RingAppendKernel final : public CpuKernel {
 public:
  explicit RingAppendKernel(const OpCall& call)
      : format_(op_of<RingAppend>(call).format),
        ring_rows_(call.inputs[1].shape[1]),
        x_bytes_(format_.dim * static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        encode_(simd::encode_row(call.inputs[0].dtype)) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows(), 2.0 * format_.dim, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const Row& row = args.step.rows[static_cast<size_t>(t)];
        if (row.end - t > ring_rows_) continue;  // a later row of this segment overwrites it
        const int64_t to = row.slot * ring_rows_ + row.position % ring_rows_;
        encode_(format_, args.data<const std::byte>(0) + t * x_bytes_, args.data<uint8_t>(2) + to * format_.bytes());
      }
    });
  }

 private:
  const RowFormat format_;
  const int64_t ring_rows_, x_bytes_;
  const simd::EncodeFn encode_;
};

// Rows as they were appended: the format is the activation type.
class RingReadKernel final : public CpuKernel {
 public:
  explicit RingReadKernel(const OpCall& call)
      : row_bytes_(op_of<RingRead>(call).format.bytes()), ring_rows_(call.inputs[1].shape[1]) {}

  void run(const CpuArgs& args) const override {
    for (int64_t t = 0; t < args.step.n_rows(); ++t) {
      const Row& row = args.step.rows[static_cast<size_t>(t)];
      const int64_t from = row.slot * ring_rows_ + row.position % ring_rows_;
      std::memcpy(args.data<std::byte>(2) + t * row_bytes_, args.data<const std::byte>(1) + from * row_bytes_,
                  static_cast<size_t>(row_bytes_));
    }
  }

 private:
  const int64_t row_bytes_, ring_rows_;
};

}  // namespace

const CpuEntry kCpuRingAppend{OpKind::kRingAppend, "cpu.ring_append", any_call, make_kernel<RingAppendKernel>};
const CpuEntry kCpuRingRead{OpKind::kRingRead, "cpu.ring_read", any_call, make_kernel<RingReadKernel>};

}  // namespace v4rt
