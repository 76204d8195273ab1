#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/device.h"

namespace v4rt {

// A smaller call to measure in place of a large one, with the same work per row and per weight: at most 512 rows, at
// most 16 experts with the same number of rows each, and at most 64 MiB of a matrix.
struct SampleCall {
  std::vector<TensorType> inputs, outputs;
  std::string text;  // "linear bf16 [512, 4096] x fp8/rows16 [1024, 4096]"
};
SampleCall sample_of(const OpCall& call);

// A call with its own memory on a device, to be run by several kernels in turn.
class KernelTrial {
 public:
  KernelTrial(Device& device, const OpCall& call);
  double seconds(const Kernel& kernel);  // of one run, waiting until it is done

 private:
  Tensor allocate(const TensorType& type);

  Device& device_;
  std::unique_ptr<Queue> queue_;
  std::vector<Tensor> args_;
  std::vector<Segment> segments_;
  std::vector<Row> rows_;
};

}  // namespace v4rt
