#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/kernel_table.h"
#include "backend/opencl/builtin/product.h"
#include "backend/opencl/opencl_context.h"

namespace v4rt {

// A device without a compiler, of which one of its built-in kernels is a matrix product that is known here: how
// accelerators with fixed functions appear in OpenCL, often with the type CL_DEVICE_TYPE_CUSTOM. It takes linear ops,
// with --fast, since the order of its sums is its own; the rest of a graph goes elsewhere.
class BuiltinDevice final : public TableDevice<BuiltinDevice> {
 public:
  // Throws Error(kUnsupported) if the product of small whole numbers is not what it must be.
  BuiltinDevice(const OpenclSite& site, const Capabilities& capabilities, const std::string& name, FastOptions fast,
                const OpenclLoan& loan);

  const DeviceInfo& info() const override { return info_; }
  Layout weight_layout(const TensorType& weight) const override {
    return weight.shape.rank() == 2 ? Layout::kDense : Layout::kRows;
  }
  BufferPtr allocate(size_t bytes) override { return allocate_buffer(context_.get(), info_, bytes, budget_); }
  std::unique_ptr<Queue> create_queue() override { return open_queue(); }

  const BuiltinProduct& product() const { return product_; }
  const BuiltinFunction& function() const { return *function_; }

 private:
  std::unique_ptr<OpenclQueue> open_queue() const;
  void check_product();

  OpenclSite site_;
  DeviceInfo info_;
  cl::Context context_;
  cl::CommandQueue lent_queue_;
  std::shared_ptr<MemoryBudget> budget_ = std::make_shared<MemoryBudget>();
  const BuiltinProduct& product_;
  std::unique_ptr<BuiltinFunction> function_;
};

using BuiltinEntry = KernelEntry<BuiltinDevice>;
extern const BuiltinEntry kBuiltinLinear, kBuiltinRepack;

}  // namespace v4rt
