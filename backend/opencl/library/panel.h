#pragma once

#include <memory>

#include "backend/opencl/opencl_device.h"

namespace v4rt {

// Sixteen rows of a weight at a time, as kernels/panel.cl makes a dense f32 panel of them: k rows of 16 * groups
// numbers.
struct PanelGroups {
  int64_t matrix;  // of a stack
  int64_t first, groups;
};

class PanelWidener {
 public:
  PanelWidener(OpenclDevice& device, DType act, DType out, const TensorType& weight);
  // Into `panel` from element `at` on.
  void operator()(OpenclQueue& queue, const Tensor& weight, const PanelGroups& groups, const BufferPtr& panel,
                  int64_t at) const;

 private:
  std::unique_ptr<OpenclFunction> function_;
  int64_t rows_, k_, words_;
};

// The options that panel.cl is built with.
std::vector<std::string> panel_options(DType act, DType out, DType weight);

// Whether a kernel may have so many floats of scratch memory: places in it are numbers of 32 bits.
Support panel_fits(const OpenclDevice& device, int64_t floats);

}  // namespace v4rt
