#include "tests/api/faults_host.h"

#include <vector>

namespace faults {

HostOpencl::~HostOpencl() {
  const Spared own;
  if (queue_ != nullptr) clReleaseCommandQueue(queue_);
  if (context_ != nullptr) clReleaseContext(context_);
}

void HostOpencl::lend(v4rt_model_options& options) {
  const Spared own;
  cl_platform_id platforms[16];
  cl_device_id device = nullptr;
  cl_uint n = 0;
  clGetPlatformIDs(16, platforms, &n);
  for (cl_uint i = 0; i < n && device == nullptr; ++i)
    clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, nullptr);
  context_ = clCreateContext(nullptr, 1, &device, nullptr, nullptr, nullptr);
  queue_ = clCreateCommandQueue(context_, device, 0, nullptr);
  options.opencl_context = context_;
  options.opencl_device = device;
  options.opencl_queue = queue_;
}

v4rt_status HostOpencl::feed(v4rt_session* session, v4rt_batch_item* items, size_t n_items, size_t vocabulary,
                             const std::function<void(const float*)>& read) {
  std::vector<cl_mem> tokens;
  {
    const Spared own;
    for (size_t i = 0; i < n_items; ++i) {
      void* const ids = const_cast<int32_t*>(items[i].tokens);
      const cl_mem_flags flags = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
      tokens.push_back(clCreateBuffer(context_, flags, items[i].n_tokens * sizeof(int32_t), ids, nullptr));
      items[i].opencl_tokens = tokens.back();
      items[i].tokens = nullptr;
    }
  }
  void* memory = nullptr;
  uint64_t offset = 0;
  const v4rt_status status = v4rt_session_feed_batch_opencl(session, items, n_items, &memory, &offset);
  const Spared own;
  if (status == V4RT_OK) {
    std::vector<float> logits(n_items * vocabulary);
    clEnqueueReadBuffer(queue_, static_cast<cl_mem>(memory), CL_TRUE, offset, logits.size() * sizeof(float),
                        logits.data(), 0, nullptr, nullptr);
    read(logits.data());
  }
  for (const cl_mem ids : tokens) clReleaseMemObject(ids);
  return status;
}

}  // namespace faults
