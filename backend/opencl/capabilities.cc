#include "backend/opencl/capabilities.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/core/log.h"

namespace v4rt {
namespace {

std::vector<cl_device_id> devices_of(cl_platform_id platform) {
  // A platform without devices may answer an error and leave the count as it was.
  cl_uint count = 0;
  const cl_int status = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &count);
  if (status != CL_SUCCESS && status != CL_DEVICE_NOT_FOUND) {
    log::warn("opencl: platform {} is skipped: clGetDeviceIDs: {} ({})", cl::platform_text(platform, CL_PLATFORM_NAME),
              cl::error_name(status), status);
  }
  if (status != CL_SUCCESS || count == 0) return {};
  std::vector<cl_device_id> devices(count);
  if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, devices.data(), nullptr) != CL_SUCCESS) return {};
  return devices;
}

}  // namespace

std::vector<OpenclSite> find_opencl_sites() {
  cl_uint count = 0;
  if (clGetPlatformIDs(0, nullptr, &count) != CL_SUCCESS || count == 0) return {};
  std::vector<cl_platform_id> platforms(count);
  if (clGetPlatformIDs(count, platforms.data(), nullptr) != CL_SUCCESS) return {};
  std::vector<OpenclSite> sites;
  for (cl_platform_id platform : platforms) {
    for (cl_device_id device : devices_of(platform)) {
      const std::string reason = unusable_because({platform, device});
      if (reason.empty()) {
        sites.push_back({platform, device});
      } else {
        log::warn("opencl: {} is skipped: {}", cl::device_text(device, CL_DEVICE_NAME), reason);
      }
    }
  }
  return sites;
}

std::string unusable_because(const OpenclSite& site) {
  if (cl::device_value<cl_bool>(site.device, CL_DEVICE_AVAILABLE) == CL_FALSE) return "it is not available";
  if (cl::device_value<cl_bool>(site.device, CL_DEVICE_COMPILER_AVAILABLE) == CL_FALSE) return "it has no compiler";
  if (cl::device_value<cl_bool>(site.device, CL_DEVICE_ENDIAN_LITTLE) == CL_FALSE) return "it is big-endian";
  const std::string version = cl::device_text(site.device, CL_DEVICE_VERSION);  // "OpenCL <major>.<minor> ..."
  if (version < "OpenCL 1.2") return fmt::format("it offers {}, OpenCL 1.2 is needed", version);
  return {};
}

Capabilities query_capabilities(const OpenclSite& site) {
  Capabilities c;
  cl_device_id device = site.device;
  c.device_name = cl::device_text(device, CL_DEVICE_NAME);
  c.driver_version = cl::device_text(device, CL_DRIVER_VERSION);
  c.platform_name = cl::platform_text(site.platform, CL_PLATFORM_NAME);
  c.platform_version = cl::platform_text(site.platform, CL_PLATFORM_VERSION);

  const auto type = cl::device_value<cl_device_type>(device, CL_DEVICE_TYPE);
  const bool is_cpu = (type & ~static_cast<cl_device_type>(CL_DEVICE_TYPE_DEFAULT)) == CL_DEVICE_TYPE_CPU;
  c.lanes = is_cpu ? Lanes::kVector : Lanes::kWorkItems;
  c.host_memory = is_cpu && cl::device_value<cl_bool>(device, CL_DEVICE_HOST_UNIFIED_MEMORY) == CL_TRUE;

  c.max_allocation = cl::device_value<cl_ulong>(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
  c.memory = cl::device_value<cl_ulong>(device, CL_DEVICE_GLOBAL_MEM_SIZE);
  c.local_memory = cl::device_value<cl_ulong>(device, CL_DEVICE_LOCAL_MEM_SIZE);
  c.max_group = cl::device_value<size_t>(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
  c.alignment = std::max<size_t>(64, cl::device_value<cl_uint>(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, 1024) / 8);
  c.compute_units = std::max(1u, cl::device_value<cl_uint>(device, CL_DEVICE_MAX_COMPUTE_UNITS, 1));

  const auto single = cl::device_value<cl_device_fp_config>(device, CL_DEVICE_SINGLE_FP_CONFIG);
  c.correct_divide_sqrt = (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
  c.denormals = (single & CL_FP_DENORM) != 0;
  c.fp64 = cl::device_value<cl_device_fp_config>(device, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
  return c;
}

std::vector<std::string> Capabilities::features() const {
  std::vector<std::string> names{lanes == Lanes::kVector ? "vector_lanes" : "work_item_lanes"};
  if (correct_divide_sqrt) names.emplace_back("correct_divide_sqrt");
  if (denormals) names.emplace_back("denormals");
  if (fp64) names.emplace_back("fp64");
  if (host_memory) names.emplace_back("host_memory");
  return names;
}

}  // namespace v4rt
