#include "ops/basic/basic.h"

#include "backend/opencl/kernels/entries.h"
#include "backend/opencl/kernels/row_kernel.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) { return all_row_major(call); }

std::unique_ptr<OpenclFunction> basic_function(OpenclDevice& device, DType act, const char* name) {
  return device.function("basic.cl", {define("ACT", act)}, name);
}

std::unique_ptr<Kernel> make_embed_rows(const OpCall& call, OpenclDevice& device) {
  const auto& op = op_of<EmbedRows>(call);
  const TensorType& table = call.inputs[1];
  return make_kernel([function = device.function(
                          "basic.cl", {define("ACT", op.activation), define("TABLE", table.dtype)}, "embed_rows"),
                      d = narrow(table.shape[1]), copies = int32_t{op.copies == 0 ? 1 : op.copies}](
                         OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    (*function)(queue, {tiles(d, kColumns), live_count(step)}, args[0].values, args[1].values, args[2].values, d,
                copies);
  });
}

std::unique_ptr<Kernel> make_take_last(const OpCall& call, OpenclDevice& device) {
  const TensorType& x = call.inputs[0];
  return make_kernel(
      [function = basic_function(device, x.dtype, "take_last"), n = narrow(x.shape.elements() / x.shape[0])](
          OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        const Grid grid{tiles(n, kColumns), static_cast<size_t>(step.n_segments())};
        (*function)(queue, grid, queue.step_table(), args[0].values, args[1].values, n);
      });
}

std::unique_ptr<Kernel> make_add_streams(const OpCall& call, OpenclDevice& device) {
  const TensorType& s = call.inputs[1];
  return make_kernel([function = basic_function(device, s.dtype, "add_streams"), m = narrow(s.shape[1]),
                      d = narrow(s.shape[2])](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
    const Grid grid{tiles(d, kColumns), live_count(step) * static_cast<size_t>(m)};
    (*function)(queue, grid, args[0].values, args[1].values, args[2].values, d, m);
  });
}

std::unique_ptr<Kernel> make_swiglu(const OpCall& call, OpenclDevice& device) {
  const TensorType& x = call.inputs[0];
  return make_kernel(
      [function = basic_function(device, x.dtype, "swiglu"), n = narrow(x.shape[1] / 2),
       limit = op_of<Swiglu>(call).limit](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        (*function)(queue, {tiles(n, kColumns), live_count(step)}, args[0].values, args[1].values, n, limit);
      });
}

std::optional<RowFunction> swiglu(const OpCall& call) {
  const TensorType& x = call.inputs[0];
  const int32_t n = narrow(x.shape[1] / 2);
  return RowFunction{.file = "basic.cl",
                     .name = "swiglu_row",
                     .definitions = {define("ACT", x.dtype)},
                     .arguments = {TensorAt{0}, TensorAt{1}, n, op_of<Swiglu>(call).limit},
                     .group = row_group(n)};
}

}  // namespace

const OpenclEntry kOpenclEmbedRows{OpKind::kEmbedRows, "opencl.embed_rows", supports, make_embed_rows};
const OpenclEntry kOpenclTakeLast{OpKind::kTakeLast, "opencl.take_last", supports, make_take_last};
const OpenclEntry kOpenclAddStreams{OpKind::kAddStreams, "opencl.add_streams", supports, make_add_streams};
const OpenclEntry kOpenclSwiglu{OpKind::kSwiglu, "opencl.swiglu", supports, make_swiglu};
const RowOpEntry kRowSwiglu{OpKind::kSwiglu, swiglu};

}  // namespace v4rt
