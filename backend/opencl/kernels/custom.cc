#include "backend/custom_op.h"
#include "backend/opencl/kernels/entries.h"

namespace v4rt {
namespace {

Support supports(const OpCall& call, const OpenclDevice&) {
  if (op_of<CustomOp>(call).opencl_kernel(call).source.empty())
    return Support::no(call.op.describe() + " has no kernel for OpenCL");
  for (const TensorType& type : call.inputs)
    if (has_scale_plane(type.dtype)) return Support::no("an input with scales");
  return all_row_major(call);
}

std::unique_ptr<Kernel> make(const OpCall& call, OpenclDevice& device) {
  const CustomOp::OpenclKernel kernel = op_of<CustomOp>(call).opencl_kernel(call);
  check(("\n" + kernel.source).find("\nKERNEL void " + kernel.name + "(") != std::string::npos, Code::kInvalidArgument,
        "{}: no line of its OpenCL source begins with 'KERNEL void {}('", call.op.describe(), kernel.name);
  const size_t n = call.inputs.size() + call.outputs.size();
  return make_kernel(
      [function = device.function(KernelSource{"custom", kernel.source}, kernel.definitions, kernel.name),
       parts = kernel.parts, n](OpenclQueue& queue, std::span<const Tensor> args, const Step& step) {
        (*function)(queue, {parts, live_count(step)}, args.first(n));
      });
}

}  // namespace

const OpenclEntry kOpenclCustom{OpKind::kCustom, "opencl.custom", supports, make};

}  // namespace v4rt
