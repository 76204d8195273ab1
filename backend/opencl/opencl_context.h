#pragma once

// What every device of the backend begins with, whether it has a compiler or not.

#include <string>

#include "backend/device.h"
#include "backend/opencl/capabilities.h"
#include "backend/opencl/opencl_buffer.h"

namespace v4rt {

// What a host program that uses OpenCL itself lends: retained. `queue` may be nullptr.
struct OpenclLoan {
  cl_context context = nullptr;
  cl_device_id device = nullptr;
  cl_command_queue queue = nullptr;
};

DeviceInfo device_info(const Capabilities& capabilities, const std::string& name);

// The context lent, or one of its own.
cl::Context open_context(const OpenclSite& site, const OpenclLoan& loan, const std::string& name);
cl::CommandQueue retain_queue(const OpenclLoan& loan, const std::string& name);  // none where none is lent

// Throws Error(kOutOfMemory), also when one buffer may not have so many bytes.
BufferPtr allocate_buffer(cl_context context, const DeviceInfo& device, size_t bytes,
                          const std::shared_ptr<MemoryBudget>& budget);

}  // namespace v4rt
