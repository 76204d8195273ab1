#include "ops/layout/repack.h"

#include "backend/opencl/kernels/entries.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) {
  return op_of<Repack>(call).layout == Layout::kRows16 ? Support{} : Support::no("it makes rows16 only");
}

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  const TensorType& in = call.inputs[0];
  const int64_t rows = in.shape[-2], k = in.shape[-1], matrices = in.shape.rank() == 3 ? in.shape[0] : 1;
  const int64_t row_bytes = info(in.dtype).row_bytes(k);
  const int64_t scale_cols = has_scale_plane(in.dtype) ? ceil_div(k, info(in.dtype).scale_cols) : 0;
  const bool by_row = info(in.dtype).scale_rows == 1;  // scales interleave like values; other planes keep their order
  return make_kernel([interleave = device.function("repack.cl", {}, "interleave"), by_row, rows = narrow(rows),
                      matrices = static_cast<size_t>(matrices), row_bytes = narrow(row_bytes),
                      scale_cols = narrow(scale_cols)](OpenclQueue& queue, std::span<const Tensor> args, const Step&) {
    const auto launch = [&](const BufferPtr& from, const BufferPtr& to, int32_t bytes, int32_t unit) {
      (*interleave)(queue, {tiles(ceil_div(bytes, unit), kColumns), tiles(rows, 16), matrices}, from, to, rows, bytes,
                    unit);
    };
    launch(args[0].values, args[1].values, row_bytes, 4);
    if (scale_cols == 0) return;
    if (by_row) {
      launch(args[0].scales, args[1].scales, scale_cols, 1);
    } else {
      queue.copy(*args[1].scales, 0, *args[0].scales, 0, args[0].type.scale_bytes());
    }
  });
}

}  // namespace

const OpenclEntry kOpenclRepack{OpKind::kRepack, "opencl.repack", supports, make};

}  // namespace v4rt
