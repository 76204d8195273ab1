#pragma once

#include <span>

#include "backend/opencl/kernels.h"
#include "ops/attention/attention.h"

namespace v4rt {

// The buffers of an Attend; for a cache or an index that it has not, one that is not read.
struct AttendBuffers {
  const BufferPtr &cache, &idx, &out;
  const int32_t capacity;  // rows of a slot of the cache

  AttendBuffers(const AttendSpec& spec, std::span<const Tensor> args)
      : cache(args[spec.ratio > 0 ? 3 : 1].values),
        idx(args[spec.top_k > 0 ? 4 : 1].values),
        out(args[spec.top_k > 0 ? 5 : (spec.ratio > 0 ? 4 : 3)].values),
        capacity(spec.ratio > 0 ? narrow(args[3].type.shape[1]) : 0) {}
};

}  // namespace v4rt
