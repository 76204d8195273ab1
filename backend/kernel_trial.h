#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/device.h"

namespace v4rt {

// A call that stands for a larger one in measurements: what is the same is the work per row and per weight. It has at
// most 512 rows, a stack at most 16 experts, with as many rows for each, and a matrix at most 64 MiB of outputs' rows.
struct SampleCall {
  std::vector<TensorType> inputs, outputs;
  std::string text;  // "linear bf16 [512, 4096] x fp8/rows16 [1024, 4096]"
};
SampleCall sample_of(const OpCall& call);

// A call with memory of its own on a device, to be run by several kernels in turn.
class KernelTrial {
 public:
  KernelTrial(Device& device, const OpCall& call);
  double seconds(const Kernel& kernel);  // of one run, which is waited for

 private:
  Tensor allocate(const TensorType& type);

  Device& device_;
  std::unique_ptr<Queue> queue_;
  std::vector<Tensor> args_;
  std::vector<Segment> segments_;
  std::vector<Row> rows_;
};

}  // namespace v4rt
