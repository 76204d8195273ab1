#include "backend/opencl/program_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "backend/opencl/kernel_arguments.h"
#include "backend/opencl/kernel_sources.h"
#include "ops/core/hash.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

// Every program starts with the arithmetic of v4rt and with what kernels share, most of it behind its options.
std::string source_of(std::string_view text, std::string_view name) {
  constexpr std::string_view kShared[] = {"exact_math.h", "common.cl",  "row_ops.cl", "row_format.cl", "slots.cl",
                                          "head_tile.cl", "weights.cl", "dot.cl",     "wide_dot.cl"};
  std::string source;
  for (std::string_view part : kShared) {
    source += kernel_source(part).text;
    source += '\n';
  }
  source += text;
  return with_buffer_offsets(with_one_kernel(source, name));
}

std::string build_log(cl_program program, cl_device_id device) {
  size_t size = 0;
  if (clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, nullptr, &size) != CL_SUCCESS || size == 0)
    return {};
  std::string log(size, '\0');
  clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, log.data(), nullptr);
  log.resize(log.find('\0') == std::string::npos ? size : log.find('\0'));
  return log;
}

std::vector<std::byte> binary_of(cl_program program) {
  size_t size = 0;
  if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, nullptr) != CL_SUCCESS) return {};
  std::vector<std::byte> binary(size);
  auto* data = reinterpret_cast<unsigned char*>(binary.data());
  if (size == 0 || clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(data), &data, nullptr) != CL_SUCCESS)
    return {};
  return binary;
}

}  // namespace

const KernelSource& kernel_source(std::string_view name) {
  for (const KernelSource& source : kernel_sources()) {
    if (source.name == name) return source;
  }
  fail(Code::kInternal, "no kernel file is called {}", name);
}

ProgramCache::ProgramCache(cl_context context, const OpenclSite& site, const Capabilities& c, std::string device_name,
                           const std::string& directory)
    : context_(context),
      device_(site.device),
      device_name_(std::move(device_name)),
      identity_(fmt::format("{}, {}\n{}, {}\n", c.device_name, c.platform_name, c.driver_version, c.platform_version)),
      common_options_("-cl-std=CL1.2"),
      disk_(directory) {
  common_options_ += c.lanes == Lanes::kVector ? " -DVECTOR_LANES=1" : " -DVECTOR_LANES=0";
  // Without the option a driver may round division and root less well even where it could do better.
  if (c.correct_divide_sqrt) common_options_ += " -cl-fp32-correctly-rounded-divide-sqrt -DV4RT_CORRECT_DIVIDE_SQRT";
  if (c.fma_wrong_at_zero) common_options_ += " -DV4RT_FMA_WRONG_AT_ZERO";
  for (const StoredEntry& entry : disk_.remove_fatal())
    log::warn(
        "{}: a process ended while its driver loaded the stored binary of {} for {} ({}): it is removed, and the "
        "program built from source; if that happens again, run with --no-cache and empty the driver's own cache (of "
        "PoCL: ~/.cache/pocl)",
        device_name_, entry.what, entry.device, entry.path);
}

cl::Function ProgramCache::function(const KernelSource& source, const std::vector<std::string>& definitions,
                                    const std::string& name) {
  std::string options = common_options_;
  for (const std::string& definition : definitions) options += " -D" + definition;
  const std::lock_guard lock(mutex_);
  const auto [place, is_new] =
      entries_.try_emplace(fmt::format("{} {} {} {}", source.name, to_string(hash_of(source.text)), name, options));
  Entry& entry = place->second;
  if (is_new) {
    entry.file = source.name;
    entry.text = source.text;
    entry.name = name;
    entry.options = options;
    entry.key = fmt::format("{} of {} {}\n{}{}\n{}", name, source.name, fmt::join(definitions, " "), identity_, options,
                            source_of(source.text, name));
  }
  cl::Function made = entry.built_here ? cl::Function() : stored_function(entry);
  if (!made) {
    if (!entry.built_here) build(entry);
    cl_int status = CL_SUCCESS;
    made = cl::Function(clCreateKernel(entry.program.get(), name.c_str(), &status));
    cl::check_call(status, fmt::format("{}: clCreateKernel({} of {})", device_name_, name, source.name));
  }
  entry.made = true;
  return made;
}

// Empty if the store has no binary, or none that the driver makes the function of.
cl::Function ProgramCache::stored_function(Entry& entry) const {
  std::optional<std::vector<std::byte>> binary;
  if (!entry.program && !(binary = disk_.load(entry.key))) return {};
  std::optional<BinaryStore::Trial> trial;
  if (!entry.made) trial.emplace(disk_.path(entry.key));
  cl_int status = CL_SUCCESS;
  if (!entry.program) {
    const size_t size = binary->size();
    const auto* data = reinterpret_cast<const unsigned char*>(binary->data());
    cl::Program program(clCreateProgramWithBinary(context_, 1, &device_, &size, &data, nullptr, &status));
    if (status == CL_SUCCESS)
      status = clBuildProgram(program.get(), 1, &device_, entry.options.c_str(), nullptr, nullptr);
    if (status == CL_SUCCESS) entry.program = std::move(program);
  }
  cl::Function made(status == CL_SUCCESS ? clCreateKernel(entry.program.get(), entry.name.c_str(), &status) : nullptr);
  if (status == CL_SUCCESS) return made;
  log::debug("{}: the driver refuses cache entry {}: {}", device_name_, disk_.path(entry.key), cl::error_name(status));
  return {};
}

void ProgramCache::build(Entry& entry) const {
  const std::string source = source_of(entry.text, entry.name);
  const char* text = source.c_str();
  cl_int status = CL_SUCCESS;
  cl::Program program(clCreateProgramWithSource(context_, 1, &text, nullptr, &status));
  cl::check_call(status, device_name_ + ": clCreateProgramWithSource");
  status = clBuildProgram(program.get(), 1, &device_, entry.options.c_str(), nullptr, nullptr);
  check(status == CL_SUCCESS, Code::kDevice, "{}: {} does not build with \"{}\": {} ({})\n{}", device_name_, entry.file,
        entry.options, cl::error_name(status), status, build_log(program.get(), device_));
  log::debug("{}: built {} from source with \"{}\"", device_name_, entry.file, entry.options);
  entry.program = std::move(program);
  entry.built_here = true;
  if (!disk_.keeps()) return;
  const std::vector<std::byte> binary = binary_of(entry.program.get());
  if (!binary.empty()) disk_.store(entry.key, binary);
}

std::vector<DeviceProgram> ProgramCache::programs() {
  const std::lock_guard lock(mutex_);
  std::vector<DeviceProgram> list;
  for (const auto& [key, entry] : entries_) {
    if (!entry.program) continue;  // did not build
    DeviceProgram& program = list.emplace_back();
    program.file = entry.file;
    program.source = source_of(entry.text, entry.name);
    program.options = entry.options;
    program.log = build_log(entry.program.get(), device_);
    program.binary = binary_of(entry.program.get());
    cl_int status = CL_SUCCESS;
    const cl::Function function(clCreateKernel(entry.program.get(), entry.name.c_str(), &status));
    cl::check_call(status, fmt::format("{}: clCreateKernel({} of {})", device_name_, entry.name, entry.file));
    program.functions.push_back({entry.name, std::vector<size_t>(3)});
    cl::check_call(clGetKernelWorkGroupInfo(function.get(), device_, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
                                            3 * sizeof(size_t), program.functions[0].group.data(), nullptr),
                   fmt::format("{}: clGetKernelWorkGroupInfo({})", device_name_, entry.name));
  }
  return list;
}

}  // namespace v4rt
