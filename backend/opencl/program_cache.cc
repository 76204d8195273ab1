#include "backend/opencl/program_cache.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "backend/opencl/kernel_arguments.h"
#include "backend/opencl/kernel_sources.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

// A driver may compile when it is asked for a binary. What does not fit into this time is stored by a later run.
constexpr std::chrono::seconds kStoreTime{3};

std::string_view text_of(std::string_view file) {
  for (const KernelSource& source : kernel_sources()) {
    if (source.name == file) return source.text;
  }
  fail(Code::kInternal, "no kernel file is called {}", file);
}

// Every program starts with the arithmetic of v4rt and with what kernels share, most of it behind its options.
std::string source_of(std::string_view file) {
  constexpr std::string_view kShared[] = {"exact_math.h", "common.cl",  "row_ops.cl", "row_format.cl", "slots.cl",
                                          "head_tile.cl", "weights.cl", "dot.cl",     "wide_dot.cl"};
  std::vector<std::string_view> parts(std::begin(kShared), std::end(kShared));
  parts.push_back(file);
  std::string source;
  for (std::string_view part : parts) {
    source += text_of(part);
    source += '\n';
  }
  return with_buffer_offsets(source);
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

ProgramCache::ProgramCache(cl_context context, const OpenclSite& site, const Capabilities& c,
                           const std::string& directory)
    : context_(context), device_(site.device), common_options_("-cl-std=CL1.2"), disk_(directory) {
  identity_ = fmt::format("{}\n{}\n{}\n{}\n", c.device_name, c.driver_version, c.platform_name, c.platform_version);
  common_options_ += c.lanes == Lanes::kVector ? " -DVECTOR_LANES=1" : " -DVECTOR_LANES=0";
  // Without the option a driver may round division and root less well even where it could do better.
  if (c.correct_divide_sqrt) common_options_ += " -cl-fp32-correctly-rounded-divide-sqrt -DV4RT_CORRECT_DIVIDE_SQRT";
}

cl_program ProgramCache::get(std::string_view file, const std::vector<std::string>& definitions) {
  std::string options = common_options_;
  for (const std::string& definition : definitions) options += " -D" + definition;
  const std::lock_guard lock(mutex_);
  auto [place, is_new] = programs_.try_emplace(fmt::format("{} {}", file, options));
  if (is_new) {
    try {
      place->second = build(file, options);
    } catch (...) {
      programs_.erase(place);
      throw;
    }
  }
  return place->second.program.get();
}

ProgramCache::Entry ProgramCache::build(std::string_view file, const std::string& options) const {
  const std::string source = source_of(file);
  Entry entry{{}, identity_ + options + "\n" + source, false};
  entry.program = from_binary(entry.key, options);
  if (!entry.program) {
    entry.program = from_source(file, source, options);
    entry.built_here = true;
  }
  return entry;
}

cl::Program ProgramCache::from_binary(const std::string& key, const std::string& options) const {
  const auto binary = disk_.load(key);
  if (!binary) return {};
  const size_t size = binary->size();
  const auto* data = reinterpret_cast<const unsigned char*>(binary->data());
  cl_int binary_status = CL_SUCCESS, status = CL_SUCCESS;
  cl::Program program(clCreateProgramWithBinary(context_, 1, &device_, &size, &data, &binary_status, &status));
  if (program && status == CL_SUCCESS && binary_status == CL_SUCCESS) {
    status = clBuildProgram(program.get(), 1, &device_, options.c_str(), nullptr, nullptr);
    if (status == CL_SUCCESS) return program;
  }
  log::debug("opencl: the driver refuses cache entry {}: {}", disk_.path(key), cl::error_name(status));
  return {};
}

cl::Program ProgramCache::from_source(std::string_view file, const std::string& source,
                                      const std::string& options) const {
  const char* text = source.c_str();
  cl_int status = CL_SUCCESS;
  cl::Program program(clCreateProgramWithSource(context_, 1, &text, nullptr, &status));
  cl::check_call(status, "clCreateProgramWithSource");
  status = clBuildProgram(program.get(), 1, &device_, options.c_str(), nullptr, nullptr);
  check(status == CL_SUCCESS, Code::kDevice, "{} does not build with \"{}\": {} ({})\n{}", file, options,
        cl::error_name(status), status, build_log(program.get(), device_));
  log::debug("opencl: built {} from source with \"{}\"", file, options);
  return program;
}

void ProgramCache::store_built() {
  using Clock = std::chrono::steady_clock;
  if (!disk_.keeps()) return;
  const std::lock_guard lock(mutex_);
  const auto deadline = Clock::now() + kStoreTime;
  for (auto& [name, entry] : programs_) {
    if (Clock::now() > deadline) return;
    if (!std::exchange(entry.built_here, false)) continue;
    const std::vector<std::byte> binary = binary_of(entry.program.get());
    if (!binary.empty()) disk_.store(entry.key, binary);
  }
}

}  // namespace v4rt
