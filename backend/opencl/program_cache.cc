#include "backend/opencl/program_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <utility>

#include "backend/opencl/child.h"
#include "backend/opencl/first_launch.h"
#include "backend/opencl/kernel_arguments.h"
#include "backend/opencl/kernel_sources.h"
#include "ops/core/hash.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

// What is kept: a byte that says what has been done with the binary, and the binary. Nothing where a driver crashed.
constexpr std::byte kBuilt{'b'}, kLaunched{'l'};
const std::vector<std::byte> kCrashed = {};
constexpr std::string_view kForget = "; 'v4rt cache clear' lets it be tried again";

std::vector<std::byte> marked(std::byte mark, std::vector<std::byte> binary) {
  binary.insert(binary.begin(), mark);
  return binary;
}

// Every program starts with the arithmetic of v4rt and with what kernels share, most of it behind its options.
std::string source_of(std::string_view text, std::string_view name) {
  constexpr std::string_view kShared[] = {"exact_math.h", "common.cl",    "row_ops.cl", "row_format.cl", "extents.cl",
                                          "slots.cl",     "head_tile.cl", "weights.cl", "dot.cl",        "wide_dot.cl"};
  std::string source;
  for (std::string_view part : kShared) {
    source += kernel_source(part).text;
    source += '\n';
  }
  source += text;
  return with_buffer_offsets(with_one_kernel(source, name));
}

}  // namespace

const KernelSource& kernel_source(std::string_view name) {
  for (const KernelSource& source : kernel_sources()) {
    if (source.name == name) return source;
  }
  fail(Code::kInternal, "no kernel file is called {}", name);
}

ProgramCache::ProgramCache(cl_context context, const OpenclSite& site, const Capabilities& c, std::string device_name,
                           const std::string& directory, std::vector<std::string> compiler)
    : context_(context),
      device_(site.device),
      device_name_(std::move(device_name)),
      identity_(fmt::format("{}, {}\n{}, {}\n", c.device_name, c.platform_name, c.driver_version, c.platform_version)),
      fenced_language_(c.fenced_language),
      disk_(directory) {
  if (!compiler.empty()) compilers_ = std::make_unique<Compilers>(std::move(compiler), device_name_);
  common_options_ = c.lanes == Lanes::kVector ? " -DVECTOR_LANES=1" : " -DVECTOR_LANES=0";
  // Without the option a driver may round division and root less well even where it could do better.
  if (c.correct_divide_sqrt) common_options_ += " -cl-fp32-correctly-rounded-divide-sqrt -DV4RT_CORRECT_DIVIDE_SQRT";
  // Then everything is taken for zero alike.
  if (!c.denormals) common_options_ += " -cl-denorms-are-zero";
  if (c.fma_wrong_at_zero) common_options_ += " -DV4RT_FMA_WRONG_AT_ZERO";
  for (const StoredEntry& entry : disk_.remove_fatal())
    log::warn(
        "{}: a process ended while its driver loaded the stored binary of {} for {} ({}): it is removed, and the "
        "program built from source; if that happens again, run with --no-cache and empty the driver's own cache (of "
        "PoCL: ~/.cache/pocl)",
        device_name_, entry.what, entry.device, entry.path);
}

void ProgramCache::employ(std::vector<std::unique_ptr<Child>> processes) {
  if (compilers_) compilers_->employ(std::move(processes));
}

cl_kernel LateFunction::get() {
  if (!made_) cache_.take(entry_);
  return made_.get();
}

std::shared_ptr<LateFunction> ProgramCache::function(const KernelSource& source,
                                                     const std::vector<std::string>& definitions,
                                                     const std::string& name) {
  std::string options = fmt::format("-cl-std={}{}", source.fences ? fenced_language_ : "CL1.2", common_options_);
  for (const std::string& definition : definitions) options += " -D" + definition;
  const std::lock_guard lock(mutex_);
  const auto [place, is_new] =
      entries_.try_emplace(fmt::format("{} {} {} {}", source.name, to_string(hash_of(source.text)), name, options));
  Entry& entry = place->second;
  if (is_new) {
    entry.file = source.name;
    entry.name = name;
    entry.text = {fmt::format("{} of {}", name, source.name), source_of(source.text, name), options};
    entry.launched = compilers_ == nullptr;
    entry.key = fmt::format("{} {}\n{}{}\nmarked\n{}", entry.text.what, fmt::join(definitions, " "), identity_, options,
                            entry.text.source);
  }
  auto late = std::make_shared<LateFunction>(*this, entry);
  if (!entry.compiled.valid() && !entry.built_here) late->made_ = stored_function(entry);
  if (late->made_) return late;
  entry.late.push_back(late);
  if (entry.compiled.valid()) return late;
  if (compilers_ && !entry.built_here) {
    order(entry);
  } else {
    if (!entry.built_here) build(entry);
    make_functions(entry);
  }
  return late;
}

void ProgramCache::order(Entry& entry) {
  entry.compiled = compilers_->compile(entry.text, [this, key = entry.key](const Compilers::Result& result) {
    if (result.crashed || !result.answer.empty())
      disk_.store(key, result.crashed ? kCrashed : marked(kBuilt, result.answer));
  });
}

// Waits for what other processes compile.
void ProgramCache::take(Entry& entry) {
  const std::lock_guard lock(mutex_);
  if (entry.late.empty()) return;  // another thread has taken it
  if (!entry.compiled.valid()) order(entry);
  const Compilers::Result result = std::exchange(entry.compiled, {}).get();
  check(!result.crashed, Code::kDevice, "{}: its driver ended the process that compiled {} ({}){}", device_name_,
        entry.text.what, result.problem, disk_.keeps() ? kForget : "");
  check(result.problem.empty(), Code::kDevice, "{}", result.problem);
  if (!result.answer.empty()) load(entry, result.answer);
  if (!entry.program) build(entry);
  make_functions(entry);
}

void ProgramCache::finish(const std::function<void(double done)>& progress) {
  std::vector<std::pair<Entry*, std::shared_future<Compilers::Result>>> waiting;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [key, entry] : entries_)
      if (entry.compiled.valid()) waiting.emplace_back(&entry, entry.compiled);
  }
  for (size_t i = 0; i < waiting.size(); ++i) {
    do {
      if (progress) progress(static_cast<double>(i) / static_cast<double>(waiting.size()));
    } while (waiting[i].second.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready);
    take(*waiting[i].first);
  }
  if (compilers_) compilers_->finish();
}

void ProgramCache::make_functions(Entry& entry) const {
  for (const std::weak_ptr<LateFunction>& one : std::exchange(entry.late, {})) {
    const auto late = one.lock();
    if (late == nullptr) continue;
    cl_int status = CL_SUCCESS;
    late->made_ = cl::Function(clCreateKernel(entry.program.get(), entry.name.c_str(), &status));
    cl::check_call(status, fmt::format("{}: clCreateKernel({})", device_name_, entry.text.what));
  }
  entry.made = true;
}

// Leaves the entry without a program if the driver refuses the binary.
cl_int ProgramCache::load(Entry& entry, const std::vector<std::byte>& binary) const {
  return load_program(context_, device_, entry.text, binary, entry.program);
}

// Empty if the store has no binary, or none that the driver makes the function of.
cl::Function ProgramCache::stored_function(Entry& entry) const {
  std::optional<std::vector<std::byte>> binary;
  if (!entry.program && !(binary = disk_.load(entry.key))) return {};
  check(!binary || *binary != kCrashed, Code::kDevice, "{}: its driver ended a process that compiled or launched {}{}",
        device_name_, entry.text.what, kForget);
  if (binary) {
    if (binary->front() == kLaunched) entry.launched = true;
    binary->erase(binary->begin());
  }
  std::optional<BinaryStore::Trial> trial;
  if (!entry.made) trial.emplace(disk_.path(entry.key));
  cl_int status = entry.program ? CL_SUCCESS : load(entry, *binary);
  cl::Function made(status == CL_SUCCESS ? clCreateKernel(entry.program.get(), entry.name.c_str(), &status) : nullptr);
  if (status == CL_SUCCESS) {
    entry.made = true;
    return made;
  }
  log::debug("{}: the driver refuses cache entry {}: {}", device_name_, disk_.path(entry.key), cl::error_name(status));
  return {};
}

void ProgramCache::build(Entry& entry) const {
  entry.program = build_program(context_, device_, entry.text, device_name_);
  entry.built_here = true;
  log::debug("{}: built {} from source with \"{}\"", device_name_, entry.file, entry.text.options);
  if (!disk_.keeps()) return;
  const std::vector<std::byte> binary = binary_of(entry.program.get());
  if (!binary.empty()) disk_.store(entry.key, marked(kBuilt, binary));
}

void ProgramCache::try_launch(Entry& entry, const FirstLaunch& launch, const OpenclQueue& queue) {
  const std::lock_guard lock(mutex_);
  if (entry.launched) return;  // another thread has tried it
  const std::vector<std::byte> binary = binary_of(entry.program.get());
  const Compilers::Result result = compilers_->launch(entry.text, binary, entry.name, launch.text(queue)).get();
  if (result.crashed) disk_.store(entry.key, kCrashed);
  check(!result.crashed, Code::kDevice, "{}: its driver ended the process that launched {} for the first time ({}){}",
        device_name_, entry.text.what, result.problem, disk_.keeps() ? kForget : "");
  if (!result.problem.empty()) log::debug("{}: {} was not tried: {}", device_name_, entry.text.what, result.problem);
  if (!result.answer.empty() && !binary.empty()) disk_.store(entry.key, marked(kLaunched, binary));
  entry.launched = true;
}

std::vector<DeviceProgram> ProgramCache::programs() {
  const std::lock_guard lock(mutex_);
  std::vector<DeviceProgram> list;
  for (const auto& [key, entry] : entries_) {
    if (!entry.program) continue;  // did not build
    DeviceProgram& program = list.emplace_back();
    program.file = entry.file;
    program.source = entry.text.source;
    program.options = entry.text.options;
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
