#pragma once

#include <v4rt.h>

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <cstddef>
#include <functional>

#include "tests/api/faults.h"

namespace faults {

// The OpenCL side of a program that lends its context and queue, writes tokens there and reads logits there. Its own
// calls are spared.
class HostOpencl {
 public:
  HostOpencl() = default;
  HostOpencl(const HostOpencl&) = delete;
  ~HostOpencl();

  void lend(v4rt_model_options& options);
  // v4rt_session_feed_batch_opencl with the items' tokens in memory of the device; `vocabulary` logits of each.
  v4rt_status feed(v4rt_session* session, v4rt_batch_item* items, size_t n_items, size_t vocabulary,
                   const std::function<void(const float*)>& read);

 private:
  cl_context context_ = nullptr;
  cl_command_queue queue_ = nullptr;
};

}  // namespace faults
