#include "backend/registry.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/library/library_gemm.h"
#include "backend/opencl_name.h"
#include "backend/reference/reference_device.h"
#ifdef V4RT_HAVE_OPENCL
#include "backend/opencl/id_reader.h"
#include "backend/opencl/library/clblast.h"
#include "backend/opencl/opencl_device.h"
#include "backend/opencl/serve.h"
#endif

namespace v4rt {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

FastOptions fast_options(const DeviceOptions& o) { return {o.fast, o.cache_dir, o.measure_again, o.measuring}; }

std::vector<DeviceInfo> opencl_devices([[maybe_unused]] std::vector<std::string>& problems,
                                       [[maybe_unused]] const std::string& cache_dir) {
#ifdef V4RT_HAVE_OPENCL
  return list_opencl_devices(problems, cache_dir);
#else
  return {};
#endif
}

std::shared_ptr<Device> create_opencl([[maybe_unused]] const OpenclName& name,
                                      [[maybe_unused]] const DeviceOptions& options) {
#ifdef V4RT_HAVE_OPENCL
  return create_opencl_device(name, options.cache_dir, options.lanes, fast_options(options),
                              {options.max_group, options.local_memory, options.own_memory, options.long_launches},
                              options.compiler);
#else
  fail(Code::kUnsupported, "this build has no OpenCL backend: configure with -DV4RT_OPENCL=ON");
#endif
}

std::shared_ptr<Device> create_host_opencl([[maybe_unused]] const DeviceOptions& options) {
#ifdef V4RT_HAVE_OPENCL
  const HostOpencl& host = options.host_opencl;
  check(host.context != nullptr && host.device != nullptr, Code::kInvalidArgument,
        "opencl:host is a context and a device of the host program's, which has given none");
  return adopt_opencl_device({static_cast<cl_context>(host.context), static_cast<cl_device_id>(host.device),
                              static_cast<cl_command_queue>(host.queue)},
                             options.cache_dir, options.lanes, fast_options(options),
                             {options.max_group, options.local_memory, options.own_memory, options.long_launches});
#else
  return create_opencl({}, options);
#endif
}

// If a driver failed, it may have the device.
[[noreturn]] void fail_unknown(std::string_view name, const DeviceOptions& options) {
  const DeviceList list = list_devices(options);
  std::string names;
  for (const DeviceInfo& device : list.devices) names += fmt::format("\n  {}  {}", device.name, device.description);
  for (const std::string& problem : list.problems) names += "\n  " + problem;
  fail(list.problems.empty() ? Code::kNotFound : Code::kDevice, "no device named '{}'; there is:{}", name, names);
}

// Empty for what is not the name of such a device.
std::optional<OpenclName> opencl_name(std::string_view name) {
  const auto number = [&](char before) -> std::optional<int> {
    int value = -1;
    if (!name.starts_with(before)) return {};
    const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), value);
    if (error != std::errc{} || value < 0) return {};
    name = {end, name.data() + name.size()};
    return value;
  };
  constexpr std::string_view kPrefix = "opencl";
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  if (name.empty()) return OpenclName{};
  const std::optional<int> index = number(':');
  const std::optional<int> part = index ? number('/') : std::nullopt;
  return index && name.empty() ? std::optional(OpenclName{*index, part}) : std::nullopt;
}

}  // namespace

std::vector<std::string> built_in_backends() {
#ifdef V4RT_HAVE_OPENCL
  return {"reference", "cpu", "opencl"};
#else
  return {"reference", "cpu"};
#endif
}

std::vector<std::string> built_in_libraries() {
  std::vector<std::string> names;
  for (const LibraryGemm* gemm : {&kEigenGemm, &kOnednnGemm})
    if (gemm->built_in()) names.push_back(gemm->version());
#ifdef V4RT_HAVE_OPENCL
  if (clblast_gemm::built_in()) names.push_back(clblast_gemm::version());
#endif
  return names;
}

DeviceList list_devices(const DeviceOptions& options) {
  DeviceList list{
      {create_reference_device()->info(), create_cpu_device(options.threads, fast_options(options))->info()}, {}};
  for (DeviceInfo& device : opencl_devices(list.problems, options.cache_dir)) list.devices.push_back(std::move(device));
  return list;
}

std::shared_ptr<Device> create_device(std::string_view name, const DeviceOptions& options) {
  const std::string wanted = lower(name);
  if (wanted == "reference") return create_reference_device();
  if (wanted == "cpu")
    return create_cpu_device(options.threads, fast_options(options), simd::fastest_paths(), options.cpu);
  if (wanted == kHostOpencl) return create_host_opencl(options);
  if (const auto opencl = opencl_name(wanted)) return create_opencl(*opencl, options);
  for (const DeviceInfo& device : list_devices(options).devices) {
    if (!wanted.empty() && lower(device.description).find(wanted) != std::string::npos)
      return create_device(device.name, options);
  }
  fail_unknown(name, options);
}

void compile_for([[maybe_unused]] std::string_view device) {
#ifdef V4RT_HAVE_OPENCL
  const auto name = opencl_name(device);
  check(name.has_value(), Code::kNotFound, "no OpenCL device is called '{}'", device);
  serve(*name, STDIN_FILENO);
#else
  create_opencl({}, {});  // fails
#endif
}

OpenclRange opencl_range([[maybe_unused]] const Buffer& buffer) {
#ifdef V4RT_HAVE_OPENCL
  if (const auto* known = dynamic_cast<const OpenclBuffer*>(&buffer))
    return {memory_of(*known).object, memory_of(*known).offset};
#endif
  fail(Code::kUnsupported, "this memory is not of an OpenCL device");
}

std::unique_ptr<OpenclIdReader> create_opencl_id_reader([[maybe_unused]] Device& device, [[maybe_unused]] Queue& queue,
                                                        [[maybe_unused]] int64_t vocabulary) {
#ifdef V4RT_HAVE_OPENCL
  auto* const known = dynamic_cast<OpenclDevice*>(&device);
  auto* const its = dynamic_cast<OpenclQueue*>(&queue);
  if (known != nullptr && its != nullptr) return std::make_unique<IdReader>(*known, *its, vocabulary);
#endif
  return nullptr;
}

}  // namespace v4rt
