#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/device.h"

namespace v4rt {

// An operator of a host program's own: shapes, meaning and cost as of every Op, and kernels for the devices that it was
// written for. Others refuse it; `reference` takes it by its meaning. Tensors are row-major on all of them, and of
// activations the step's live rows are computed, no others written.
class CustomOp : public OpOf<OpKind::kCustom> {
 public:
  // For `cpu`.
  struct HostKernel {
    // Computes live rows [begin, end); several threads do so at once. args: inputs, outputs.
    std::function<void(std::span<const Tensor> args, const Step& step, int64_t begin, int64_t end)> run;
    double work = 1000;  // of a row, in multiply-adds that take as long: says how many threads pay
  };
  virtual HostKernel host_kernel(const OpCall& call) const { return (void)call, HostKernel(); }

  // For `opencl`: function `name` of an OpenCL C 1.2 source, its first line and its last at the beginning of a line,
  //   KERNEL void name(__global const float* restrict x, .., __global float* restrict y) {
  //   }
  // with a pointer for each input and then each output. A work-group computes part get_group_id(0) of `parts` of row
  // get_group_id(1); its work-items are LANE = 0 .. GROUP - 1, and SYNC is their barrier. exact_math.h and
  // kernels/common.cl come before the source.
  struct OpenclKernel {
    std::string name, source;
    std::vector<std::string> definitions;  // "N=128"
    size_t parts = 1;
  };
  virtual OpenclKernel opencl_kernel(const OpCall& call) const { return (void)call, OpenclKernel(); }
};

}  // namespace v4rt
