#pragma once

#include <span>

#include "backend/opencl/kernels.h"
#include "ops/attention/attention.h"

namespace v4rt {

// The buffers of an Attend; for a cache or an index that it has not, one that is not read.
struct AttendBuffers {
  const Tensor& cache;
  const BufferPtr &idx, &out;

  AttendBuffers(const AttendSpec& spec, std::span<const Tensor> args)
      : cache(args[spec.ratio > 0 ? 3 : 1]),
        idx(args[spec.top_k > 0 ? 4 : 1].values),
        out(args[spec.top_k > 0 ? 5 : (spec.ratio > 0 ? 4 : 3)].values) {}
};

}  // namespace v4rt
