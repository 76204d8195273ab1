#pragma once

#include <cstdint>
#include <span>

#include "backend/cpu/thread_pool.h"
#include "backend/device.h"

namespace v4rt {

// The arguments of one launch: inputs, outputs[, scratch], in the order of the plan.
struct CpuArgs {
  std::span<const Tensor> tensors;
  const Step& step;
  ThreadPool& pool;

  const Tensor& operator[](size_t i) const { return tensors[i]; }
  template <class T>
  T* data(size_t i) const {
    return tensors[i].data<T>();
  }
  template <class T>
  T* scratch() const {
    return tensors.back().data<T>();
  }
};

// Fixed shapes and attributes are members; whatever is live comes from args.step.
class CpuKernel : public Kernel {
 public:
  virtual void run(const CpuArgs& args) const = 0;
};

}  // namespace v4rt
