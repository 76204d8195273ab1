#include "ops/layout/repack.h"

#include <algorithm>
#include <cstring>

#include "ops/core/arith.h"
#include "ops/core/dequant.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

constexpr int64_t kGroup = 16;

// Interleaves `n` rows of `row_bytes` bytes by units of `unit` bytes, sixteen rows to a group; missing rows are zero.
void interleave(const uint8_t* from, int64_t n, int64_t row_bytes, int64_t unit, uint8_t* to) {
  const int64_t units = ceil_div(row_bytes, unit);
  std::fill_n(to, ceil_div(n, kGroup) * kGroup * units * unit, uint8_t{0});
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t u = 0; u < units; ++u) {
      const int64_t at = ((row / kGroup * units + u) * kGroup + row % kGroup) * unit;
      std::memcpy(to + at, from + row * row_bytes + u * unit,
                  static_cast<size_t>(std::min(unit, row_bytes - u * unit)));
    }
  }
}

// Every number as F32, rows and columns rounded up to sixteen.
void widen(const Tensor& from, float* to) {
  const int64_t n = from.type.shape[-2], k = from.type.shape[-1], width = round_up(k, kGroup);
  std::fill_n(to, from.type.shape.elements() == 0 ? 0 : from.type.shape.rows() / n * round_up(n, kGroup) * width, 0.0f);
  for (int64_t row = 0; row < from.type.shape.rows(); ++row) {
    float* out = to + (row / n * round_up(n, kGroup) + row % n) * width;
    dequantise(from, row * k, {out, static_cast<size_t>(k)});
  }
}

}  // namespace

std::string Repack::describe() const { return fmt::format("repack{{{}}}", name(layout)); }

std::vector<TensorType> Repack::infer(std::span<const TensorType> in) const {
  expect_inputs("repack", in, 1);
  check(layout != Layout::kRows && in[0].layout == Layout::kRows && in[0].shape.rank() >= 2 && in[0].shape.rank() <= 3,
        Code::kInvalidArgument, "repack: {} cannot become {}", to_string(in[0]), name(layout));
  return {{in[0].dtype, in[0].shape, layout}};
}

void Repack::reference(RefContext& context) const {
  const TensorType& in = context.input(0);
  const TensorType& out = context.output(0);
  if (layout == Layout::kDense) return widen(context.tensor(0), context.out_tensor(0).data<float>());
  const int64_t n = in.shape[-2], k = in.shape[-1], matrices = in.shape.elements() / std::max<int64_t>(n * k, 1);
  const int64_t row_bytes = info(in.dtype).row_bytes(k);
  const auto to_stride = static_cast<int64_t>(out.bytes()) / std::max<int64_t>(matrices, 1);
  for (int64_t m = 0; m < matrices; ++m) {
    interleave(context.bytes(0) + m * n * row_bytes, n, row_bytes, 4, context.out_bytes(0) + m * to_stride);
  }
  if (!has_scale_plane(in.dtype)) return;
  const uint8_t* scales = context.tensor(0).scale_data();
  auto* out_scales = reinterpret_cast<uint8_t*>(context.out_tensor(0).scales->host());
  if (in.dtype == DType::kFp8) {
    std::memcpy(out_scales, scales, in.scale_bytes());
    return;
  }
  const int64_t per_row = ceil_div(k, info(in.dtype).scale_cols);
  const auto scale_stride = static_cast<int64_t>(out.scale_bytes()) / std::max<int64_t>(matrices, 1);
  for (int64_t m = 0; m < matrices; ++m)
    interleave(scales + m * n * per_row, n, per_row, 1, out_scales + m * scale_stride);
}

Cost Repack::work(std::span<const TensorType> in, const Step&) const { return {.io_bytes = total_bytes(in[0])}; }

}  // namespace v4rt
