#include "ops/quant/quant.h"

#include <cmath>

#include "backend/opencl/kernels/entries.h"

namespace v4rt {
namespace {

Support supports_fake_quant(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::unique_ptr<Kernel> make_fake_quant(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<FakeQuant>(call);
  const TensorType& x = call.inputs[0];
  const int32_t n = narrow(x.shape[-1]), dims = op.dims == 0 ? n : op.dims;
  return make_kernel(
      [function = device.function("quant.cl", {define("ACT", x.dtype)}, "fake_quant"), n, dims,
       block = int32_t{op.block}, is_fp8 = int32_t{op.grid == QuantGrid::kFp8},
       per_token = rows_per_first(x.shape)](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const Grid grid{tiles(dims, block) + tiles(n - dims, block), live_count(step) * per_token};
        (*function)(queue, grid, args[0].values, args[1].values, n, dims, block, is_fp8);
      });
}

Support supports_hadamard(const OpCall& call, const OpenclDevice& device) {
  const Support rows = all_row_major(call);
  return rows ? fits_local(device, 4 * call.inputs[0].shape[-1]) : rows;
}

std::unique_ptr<Kernel> make_hadamard(const OpCall& call, OpenclDevice& device) {
  const TensorType& x = call.inputs[0];
  const int64_t n = x.shape[-1];
  return make_kernel(
      [function = device.function("quant.cl", {define("ACT", x.dtype), define("N", n)}, "hadamard_rows"),
       scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n))),
       per_token = rows_per_first(x.shape)](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        (*function)(queue, {live_count(step) * per_token}, args[0].values, args[1].values, scale);
      });
}

}  // namespace

const OpenclEntry kOpenclFakeQuant{OpKind::kFakeQuant, "opencl.fake_quant", supports_fake_quant, make_fake_quant};
const OpenclEntry kOpenclHadamard{OpKind::kHadamard, "opencl.hadamard", supports_hadamard, make_hadamard};

}  // namespace v4rt
