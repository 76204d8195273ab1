#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels.h"
#include "backend/custom_op.h"

namespace v4rt {
namespace {

class CustomKernel final : public CpuKernel {
 public:
  explicit CustomKernel(CustomOp::HostKernel kernel) : kernel_(std::move(kernel)) {}

  void run(const CpuArgs& args) const override {
    args.pool.for_ranges(args.step.n_rows(), kernel_.work,
                         [&](int64_t begin, int64_t end) { kernel_.run(args.tensors, args.step, begin, end); });
  }

 private:
  const CustomOp::HostKernel kernel_;
};

CustomOp::HostKernel kernel_of(const OpCall& call) { return op_of<CustomOp>(call).host_kernel(call); }

}  // namespace

const CpuEntry kCpuCustom{
    OpKind::kCustom, "cpu.custom",
    [](const OpCall& call, const CpuDevice&) {
      return kernel_of(call).run ? Support{} : Support::no(call.op.describe() + " has no kernel for the host");
    },
    [](const OpCall& call, CpuDevice&) -> std::unique_ptr<Kernel> {
      return std::make_unique<CustomKernel>(kernel_of(call));
    }};

}  // namespace v4rt
