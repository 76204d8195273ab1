#include "ops/basic/basic.h"

#include <cstring>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"

namespace v4rt {
namespace {

// One table row, in the activation type: copied, widened or rounded.
class EmbedRowsKernel final : public CpuKernel {
 public:
  EmbedRowsKernel(const EmbedRows& op, DType table, int64_t dim)
      : activation_(op.activation), table_(table), copies_(op.copies == 0 ? 1 : op.copies), dim_(dim) {}

  void run(const CpuArgs& args) const override {
    const int32_t* ids = args.data<const int32_t>(0);
    const size_t from_bytes = simd::element_bytes(table_), to_bytes = simd::element_bytes(activation_);
    const auto dim = static_cast<size_t>(dim_);
    std::byte* to = args.data<std::byte>(2);
    for (int64_t t = 0; t < args.step.n_rows(); ++t) {
      const std::byte* from = args.data<const std::byte>(1) + static_cast<size_t>(ids[t]) * dim * from_bytes;
      for (int64_t j = 0; j < copies_; ++j, to += dim * to_bytes) copy(from, to);
    }
  }

 private:
  void copy(const std::byte* from, std::byte* to) const {
    if (table_ == activation_) {
      std::memcpy(to, from, static_cast<size_t>(dim_) * simd::element_bytes(table_));
    } else if (activation_ == DType::kF32) {
      simd::elementwise(table_).widen(from, dim_, reinterpret_cast<float*>(to));
    } else {
      simd::elementwise(activation_).narrow(reinterpret_cast<const float*>(from), dim_, to);
    }
  }

  const DType activation_, table_;
  const int64_t copies_, dim_;
};

class TakeLastKernel final : public CpuKernel {
 public:
  explicit TakeLastKernel(size_t row_bytes) : row_bytes_(row_bytes) {}

  void run(const CpuArgs& args) const override {
    const std::byte* from = args.data<const std::byte>(0);
    std::byte* to = args.data<std::byte>(1);
    size_t end = 0;
    for (const Segment& segment : args.step.segments) {
      end += static_cast<size_t>(segment.n_tokens);
      std::memcpy(to, from + (end - 1) * row_bytes_, row_bytes_);
      to += row_bytes_;
    }
  }

 private:
  const size_t row_bytes_;
};

class AddStreamsKernel final : public CpuKernel {
 public:
  AddStreamsKernel(const simd::ElementwiseFns& fns, DType activation, int64_t streams, int64_t dim)
      : fns_(fns),
        row_bytes_(static_cast<size_t>(dim) * simd::element_bytes(activation)),
        streams_(streams),
        dim_(dim) {}

  void run(const CpuArgs& args) const override {
    const int64_t rows = args.step.n_rows() * streams_;
    args.pool.for_ranges(rows, static_cast<double>(dim_) / 4, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const auto x = static_cast<size_t>(r / streams_) * row_bytes_, s = static_cast<size_t>(r) * row_bytes_;
        fns_.add(args.data<const std::byte>(0) + x, args.data<const std::byte>(1) + s, dim_,
                 args.data<std::byte>(2) + s);
      }
    });
  }

 private:
  const simd::ElementwiseFns& fns_;
  const size_t row_bytes_;
  const int64_t streams_, dim_;
};

std::unique_ptr<Kernel> make_embed(const OpCall& call, CpuDevice&) {
  const TensorType& table = call.inputs[1];
  return std::make_unique<EmbedRowsKernel>(op_of<EmbedRows>(call), table.dtype, table.shape[1]);
}

Support supports_embed(const OpCall& call, const CpuDevice&) {
  if (call.inputs[1].layout != Layout::kRows) return Support::no("the table must be row-major");
  return {};
}

std::unique_ptr<Kernel> make_take_last(const OpCall& call, CpuDevice&) {
  const TensorType& x = call.inputs[0];
  return std::make_unique<TakeLastKernel>(x.bytes() / static_cast<size_t>(x.shape[0]));
}

std::unique_ptr<Kernel> make_add_streams(const OpCall& call, CpuDevice&) {
  const TensorType& s = call.inputs[1];
  return std::make_unique<AddStreamsKernel>(simd::elementwise(s.dtype), s.dtype, s.shape[1], s.shape[2]);
}

}  // namespace

const CpuEntry kCpuEmbedRows{OpKind::kEmbedRows, "cpu.embed_rows", supports_embed, make_embed};
const CpuEntry kCpuTakeLast{OpKind::kTakeLast, "cpu.take_last", any_call, make_take_last};
const CpuEntry kCpuAddStreams{OpKind::kAddStreams, "cpu.add_streams", any_call, make_add_streams};

}  // namespace v4rt
