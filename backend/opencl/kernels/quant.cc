#include "ops/quant/quant.h"

#include <bit>
#include <cmath>

#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/row_kernel.h"

namespace v4rt {
namespace {

Support supports_fake_quant(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::vector<std::string> definitions_of(const OpCall& call) {
  return {define("ACT", call.inputs[0].dtype),
          op_of<FakeQuant>(call).grid == QuantGrid::kFp8 ? "GRID=fp8" : "GRID=fp4"};
}

std::unique_ptr<Kernel> make_fake_quant(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<FakeQuant>(call);
  const TensorType& x = call.inputs[0];
  const int32_t n = narrow(x.shape[-1]), dims = op.dims == 0 ? n : op.dims;
  return make_kernel(
      [function = device.function("quant.cl", definitions_of(call), "fake_quant"), n, dims, block = int32_t{op.block},
       per_token = rows_per_first(x.shape)](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const Grid grid{tiles(dims, block) + tiles(n - dims, block), live_count(step) * per_token};
        (*function)(queue, grid, args[0].values, args[1].values, n, dims, block);
      });
}

// As one work-group does a whole row. Pieces of a block must be a power of two that divides its work-items.
std::optional<RowFunction> fake_quant(const OpCall& call) {
  const auto& op = op_of<FakeQuant>(call);
  const TensorType& x = call.inputs[0];
  constexpr int kPiece = 8;  // PIECE of quant.cl
  const int pieces = op.block / kPiece;
  if (op.block % kPiece != 0 || pieces > 64 || !std::has_single_bit(static_cast<unsigned>(pieces))) return std::nullopt;
  const int32_t n = narrow(x.shape[-1]), dims = op.dims == 0 ? n : op.dims;
  return RowFunction{.file = "quant.cl",
                     .name = "fake_quant_row",
                     .definitions = definitions_of(call),
                     .arguments = {TensorAt{0}, TensorAt{1}, n, dims, int32_t{op.block}},
                     .rows_per_token = rows_per_first(x.shape),
                     .local_floats = kMostRowGroup,
                     .group = row_group(n),
                     .abreast = static_cast<size_t>(pieces)};
}

Support supports_hadamard(const OpCall& call, const OpenclDevice& device) {
  const Support rows = all_row_major(call);
  return rows ? fits_local(device, 4 * call.inputs[0].shape[-1]) : rows;
}

std::optional<RowFunction> hadamard(const OpCall& call) {
  const TensorType& x = call.inputs[0];
  const int64_t n = x.shape[-1];
  return RowFunction{
      .file = "quant.cl",
      .name = "hadamard_row",
      .definitions = {define("ACT", x.dtype)},
      .arguments = {TensorAt{0}, TensorAt{1}, narrow(n), static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)))},
      .rows_per_token = rows_per_first(x.shape),
      .local_floats = n};
}

}  // namespace

const OpenclEntry kOpenclFakeQuant{OpKind::kFakeQuant, "opencl.fake_quant", supports_fake_quant, make_fake_quant};
const OpenclEntry kOpenclHadamard{OpKind::kHadamard, "opencl.hadamard", supports_hadamard, make_row_kernel};
const RowOpEntry kRowFakeQuant{OpKind::kFakeQuant, fake_quant}, kRowHadamard{OpKind::kHadamard, hadamard};

}  // namespace v4rt
