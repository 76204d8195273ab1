#include "backend/opencl/opencl_context.h"

#include "ops/core/log.h"

namespace v4rt {
namespace {

void CL_CALLBACK log_driver_message(const char* message, const void*, size_t, void*) {
  log::debug("opencl: driver: {}", message);
}

}  // namespace

DeviceInfo device_info(const Capabilities& c, const std::string& name) {
  DeviceInfo info;
  info.name = name;
  info.description = fmt::format("{}, {}, driver {}, {} compute unit{}", c.device_name, c.platform_name,
                                 c.driver_version, c.compute_units, c.compute_units == 1 ? "" : "s");
  info.alignment = c.alignment;
  info.max_allocation = c.max_allocation;
  info.memory = c.memory;
  info.features = c.features();
  info.subnormals = c.denormals;
  return info;
}

cl::Context open_context(const OpenclSite& site, const OpenclLoan& loan, const std::string& name) {
  if (loan.context != nullptr) {
    cl::check_call(clRetainContext(loan.context), name + ": clRetainContext");
    return cl::Context(loan.context);
  }
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                              reinterpret_cast<cl_context_properties>(site.platform), 0};
  cl_int status = CL_SUCCESS;
  cl::Context context(clCreateContext(properties, 1, &site.device, &log_driver_message, nullptr, &status));
  cl::check_call(status, name + ": clCreateContext");
  return context;
}

cl::CommandQueue retain_queue(const OpenclLoan& loan, const std::string& name) {
  if (loan.queue == nullptr) return {};
  cl::check_call(clRetainCommandQueue(loan.queue), name + ": clRetainCommandQueue");
  return cl::CommandQueue(loan.queue);
}

BufferPtr allocate_buffer(cl_context context, const DeviceInfo& device, size_t bytes,
                          const std::shared_ptr<MemoryBudget>& budget) {
  check(device.max_allocation == 0 || bytes <= device.max_allocation, Code::kOutOfMemory,
        "{}: {} bytes asked, one buffer may have {}", device.name, bytes, device.max_allocation);
  try {
    return OpenclBuffer::allocate(context, bytes, budget);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", device.name, error.what()));
  }
}

}  // namespace v4rt
