#pragma once

#include <memory>
#include <vector>

#include "backend/conformance/case_data.h"
#include "backend/device.h"

namespace v4rt {

// A case's kernel with all its memory on a device, to be launched again and again.
class BoundCase {
 public:
  // Allocates memory `copies` times and uses it in turn, so that weights come from memory, not from a cache. Throws
  // Error(kUnsupported) with the reason if the device refuses the case.
  BoundCase(std::shared_ptr<Device> device, const Case& c, const CaseData& data, size_t copies);

  void run();                                 // one launch; waits until it is done
  const Cost& cost() const { return cost_; }  // of one launch

 private:
  void add_outputs(std::vector<Tensor>& args);
  Tensor upload(const HostTensor& host);
  Tensor allocate(const TensorType& type);

  std::shared_ptr<Device> device_;
  const Case case_;
  std::unique_ptr<Queue> queue_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<TensorType> inputs_, outputs_;
  std::vector<Row> rows_;
  Step step_;
  std::vector<std::vector<Tensor>> args_;  // of each copy: inputs, outputs[, scratch]
  size_t next_ = 0;
  Cost cost_;
};

}  // namespace v4rt
