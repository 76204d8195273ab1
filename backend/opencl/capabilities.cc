#include "backend/opencl/capabilities.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <span>
#include <sstream>

#include "backend/lanes_choice.h"
#include "backend/opencl/builtin/product.h"

namespace v4rt {
namespace {

constexpr cl_int kPlatformNotFound = -1001;  // CL_PLATFORM_NOT_FOUND_KHR: nothing is installed, which is no problem

// Whether `status` is success; otherwise it becomes one of `problems`.
bool succeeded(cl_int status, const std::string& what, std::vector<std::string>& problems) {
  if (status != CL_SUCCESS && status != kPlatformNotFound)
    problems.push_back(fmt::format("opencl: {}: {} ({})", what, cl::error_name(status), status));
  return status == CL_SUCCESS;
}

bool has_compiler(cl_device_id device) {
  return cl::device_value<cl_bool>(device, CL_DEVICE_COMPILER_AVAILABLE) == CL_TRUE;
}

// Of a list with semicolons.
std::vector<std::string> names_of(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream text(list);
  for (std::string name; std::getline(text, name, ';');) names.push_back(name);
  return names;
}

// `without` gets the platforms that say that they have no device.
void add_devices(cl_platform_id platform, OpenclSites& found, std::vector<std::string>& without) {
  const std::string call = cl::platform_text(platform, CL_PLATFORM_NAME) + ": clGetDeviceIDs";
  const auto ask = [&](cl_device_type type, std::span<cl_device_id> devices, cl_uint* count) {
    return clGetDeviceIDs(platform, type, static_cast<cl_uint>(devices.size()),
                          devices.empty() ? nullptr : devices.data(), count);
  };
  // "All" leaves custom devices out.
  std::vector<cl_device_id> devices;
  for (const cl_device_type type : std::initializer_list<cl_device_type>{CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_CUSTOM}) {
    cl_uint count = 0;
    cl_int status = ask(type, {}, &count);
    std::vector<cl_device_id> of_type(status == CL_SUCCESS ? count : 0);
    if (!of_type.empty()) status = ask(type, of_type, nullptr);
    if (status != CL_SUCCESS && type == CL_DEVICE_TYPE_CUSTOM) continue;  // it knows no such type, or has none
    if (succeeded(status, call, status == CL_DEVICE_NOT_FOUND ? without : found.problems))
      devices.insert(devices.end(), of_type.begin(), of_type.end());
  }
  for (cl_device_id device : devices) {
    const std::string reason = unusable_because({platform, device});
    if (reason.empty()) {
      found.sites.push_back({platform, device});
    } else {
      found.problems.push_back(fmt::format("opencl: {}: {}", cl::device_text(device, CL_DEVICE_NAME), reason));
    }
  }
}

std::vector<OpenclSite> divide(const OpenclSite& whole) {
  // Where this is 0, clCreateSubDevices may not even be there.
  const auto most = cl::device_value<cl_uint>(whole.device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES);
  const auto units = cl::device_value<cl_uint>(whole.device, CL_DEVICE_MAX_COMPUTE_UNITS);
  const auto domains = cl::device_value<cl_device_affinity_domain>(whole.device, CL_DEVICE_PARTITION_AFFINITY_DOMAIN);
  const auto made = [&](std::span<const cl_device_partition_property> how) {
    std::vector<OpenclSite> parts;
    cl_uint count = 0;
    if (clCreateSubDevices(whole.device, how.data(), 0, nullptr, &count) != CL_SUCCESS || count < 2) return parts;
    std::vector<cl_device_id> devices(count);
    if (clCreateSubDevices(whole.device, how.data(), count, devices.data(), nullptr) != CL_SUCCESS) return parts;
    for (cl_device_id device : devices) parts.push_back({whole.platform, device});
    return parts;
  };
  if (most < 2 || units < 2) return {};
  if ((domains & CL_DEVICE_AFFINITY_DOMAIN_NUMA) != 0) {
    const cl_device_partition_property by_memory[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN,
                                                      CL_DEVICE_AFFINITY_DOMAIN_NUMA, 0};
    if (auto parts = made(by_memory); !parts.empty()) return parts;
  }
  const cl_device_partition_property halves[] = {
      CL_DEVICE_PARTITION_BY_COUNTS, static_cast<cl_device_partition_property>(units - units / 2),
      static_cast<cl_device_partition_property>(units / 2), CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
  return made(halves);
}

}  // namespace

OpenclSites find_opencl_sites() {
  OpenclSites found;
  cl_uint count = 0;
  const auto ask = [&](std::span<cl_platform_id> platforms, cl_uint* n) {
    return succeeded(
        clGetPlatformIDs(static_cast<cl_uint>(platforms.size()), platforms.empty() ? nullptr : platforms.data(), n),
        "clGetPlatformIDs", found.problems);
  };
  if (!ask({}, &count) || count == 0) return found;
  std::vector<cl_platform_id> platforms(count);
  if (!ask(platforms, nullptr)) return found;
  std::vector<std::string> without;
  for (cl_platform_id platform : platforms) add_devices(platform, found, without);
  // Beside others, as Mesa's are on many machines, that is nothing; alone, such a platform may be one that could not
  // look.
  if (found.sites.empty()) found.problems.insert(found.problems.end(), without.begin(), without.end());
  return found;
}

std::vector<OpenclSite> parts_of(const OpenclSite& whole) {
  static std::mutex mutex;
  static std::map<cl_device_id, std::vector<OpenclSite>> made;
  const std::lock_guard lock(mutex);
  std::vector<OpenclSite>& parts = made[whole.device];
  if (parts.empty()) parts = divide(whole);
  return parts;
}

std::string unusable_because(const OpenclSite& site) {
  if (cl::device_value<cl_bool>(site.device, CL_DEVICE_AVAILABLE) == CL_FALSE) return "it is not available";
  const std::string kernels = cl::device_text(site.device, CL_DEVICE_BUILT_IN_KERNELS);
  if (!has_compiler(site.device) && product_among(names_of(kernels)) == nullptr)
    return fmt::format("it has no compiler, and {}",
                       kernels.empty() ? "no built-in kernels"
                                       : fmt::format("none of its built-in kernels is known here: {}", kernels));
  if (cl::device_value<cl_bool>(site.device, CL_DEVICE_ENDIAN_LITTLE) == CL_FALSE) return "it is big-endian";
  const std::string version = cl::device_text(site.device, CL_DEVICE_VERSION);  // "OpenCL <major>.<minor> ..."
  if (version < "OpenCL 1.2") return fmt::format("it offers {}, OpenCL 1.2 is needed", version);
  return {};
}

namespace {

std::string fenced_language_of(cl_device_id device) {
  constexpr cl_device_info kAtomics = 0x1063, kFences = 0x1064;  // CL_DEVICE_ATOMIC_.._CAPABILITIES of OpenCL 3.0
  constexpr cl_bitfield kOrdered = 1 << 1, kOfDevice = 1 << 5;
  const std::string version = cl::device_text(device, CL_DEVICE_VERSION);
  if (version.starts_with("OpenCL 2.")) return "CL2.0";
  if (version < "OpenCL 3.") return {};
  const auto has = [&](cl_device_info what, cl_bitfield bits) {
    return (cl::device_value<cl_bitfield>(device, what, 0) & bits) == bits;
  };
  return has(kAtomics, kOfDevice) && has(kFences, kOrdered | kOfDevice) ? "CL3.0" : "";
}

}  // namespace

Capabilities query_capabilities(const OpenclSite& site) {
  Capabilities c;
  cl_device_id device = site.device;
  c.device_name = cl::device_text(device, CL_DEVICE_NAME);
  c.driver_version = cl::device_text(device, CL_DRIVER_VERSION);
  c.platform_name = cl::platform_text(site.platform, CL_PLATFORM_NAME);
  c.platform_version = cl::platform_text(site.platform, CL_PLATFORM_VERSION);

  c.compiler = has_compiler(device);
  c.builtin_kernels = names_of(cl::device_text(device, CL_DEVICE_BUILT_IN_KERNELS));

  const auto type = cl::device_value<cl_device_type>(device, CL_DEVICE_TYPE);
  const bool is_cpu = (type & ~static_cast<cl_device_type>(CL_DEVICE_TYPE_DEFAULT)) == CL_DEVICE_TYPE_CPU;
  c.processor = is_cpu;
  // A compiler that takes vectors apart, which says that none is native, makes nothing good of sixteen lanes.
  const bool has_vectors = cl::device_value<cl_uint>(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, 1) > 1;
  c.lanes = is_cpu && has_vectors ? Lanes::kVector : Lanes::kWorkItems;
  c.unified_memory = cl::device_value<cl_bool>(device, CL_DEVICE_HOST_UNIFIED_MEMORY) == CL_TRUE;
  c.host_memory = is_cpu && c.unified_memory;

  c.max_allocation = cl::device_value<cl_ulong>(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
  c.memory = cl::device_value<cl_ulong>(device, CL_DEVICE_GLOBAL_MEM_SIZE);
  c.local_memory = cl::device_value<cl_ulong>(device, CL_DEVICE_LOCAL_MEM_SIZE);
  c.argument_bytes = cl::device_value<size_t>(device, CL_DEVICE_MAX_PARAMETER_SIZE);
  c.max_group = cl::device_value<size_t>(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
  c.alignment = std::max<size_t>(64, cl::device_value<cl_uint>(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, 1024) / 8);
  c.compute_units = std::max(1u, cl::device_value<cl_uint>(device, CL_DEVICE_MAX_COMPUTE_UNITS, 1));

  const auto single = cl::device_value<cl_device_fp_config>(device, CL_DEVICE_SINGLE_FP_CONFIG);
  c.correct_divide_sqrt = (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
  c.denormals = (single & CL_FP_DENORM) != 0;
  c.fp64 = cl::device_value<cl_device_fp_config>(device, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
  c.fenced_language = fenced_language_of(device);
  return c;
}

std::vector<std::string> Capabilities::features() const {
  if (!compiler) return {"no_compiler", std::string(product_among(builtin_kernels)->name)};
  std::vector<std::string> names{lanes == Lanes::kVector ? "vector_lanes" : "work_item_lanes"};
  names.push_back(fmt::format("{}{}", kMaxGroup, max_group));
  if (correct_divide_sqrt) names.emplace_back("correct_divide_sqrt");
  if (denormals) names.emplace_back("denormals");
  if (fp64) names.emplace_back("fp64");
  if (!fenced_language.empty()) names.emplace_back("device_fences");
  if (unified_memory) names.emplace_back("unified_memory");
  if (host_memory) names.emplace_back("host_memory");
  return names;
}

}  // namespace v4rt
