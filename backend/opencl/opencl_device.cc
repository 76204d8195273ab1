#include "backend/opencl/opencl_device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "backend/opencl/arithmetic.h"
#include "backend/opencl/builtin/builtin_device.h"
#include "backend/opencl/child.h"
#include "backend/opencl/extents.h"
#include "backend/opencl/kernels.h"
#include "backend/opencl/kernels/column_chain.h"
#include "backend/opencl/kernels/products.h"
#include "backend/opencl/kernels/row_kernel.h"
#include "backend/opencl/kernels/tail.h"
#include "backend/opencl/lanes_trial.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

std::string name_of(size_t index) { return fmt::format("opencl:{}", index); }

}  // namespace

OpenclDevice::OpenclDevice(const OpenclSite& site, const Capabilities& capabilities, const std::string& name,
                           const std::string& cache_dir, FastOptions fast, const OpenclLoan& loan,
                           std::vector<std::string> compiler)
    : TableDevice(opencl_kernels(), std::move(fast)),
      site_(site),
      capabilities_(capabilities),
      info_(device_info(capabilities, name)),
      context_(open_context(site, loan, name)),
      lent_queue_(retain_queue(loan, name)),
      budget_(std::make_shared<MemoryBudget>()) {
  budget_->limit = capabilities_.memory;
  programs_ =
      std::make_unique<ProgramCache>(context_.get(), site_, capabilities_, info_.name, cache_dir, std::move(compiler));
}

Layout OpenclDevice::weight_layout(const TensorType& weight) const {
  return weight.shape.rank() >= 2 ? Layout::kRows16 : Layout::kRows;
}

BufferPtr OpenclDevice::import_host(std::span<const std::byte> memory) {
  // Kernels read up to four words at once: a view that starts between them is copied instead.
  const bool aligned = reinterpret_cast<uintptr_t>(memory.data()) % 16 == 0;
  const bool fits = capabilities_.max_allocation == 0 || memory.size() <= capabilities_.max_allocation;
  if (!capabilities_.host_memory || !aligned || !fits || memory.empty()) return nullptr;
  return OpenclBuffer::import_host(context_.get(), memory);
}

std::unique_ptr<Queue> OpenclDevice::create_queue() {
  return std::make_unique<OpenclQueue>(context_.get(), site_.device, info_.name, lent_queue_.get(),
                                       !capabilities_.unified_memory);
}

void OpenclDevice::employ(std::vector<std::unique_ptr<Child>> processes) { programs_->employ(std::move(processes)); }

size_t OpenclDevice::pinned_bytes() const { return capabilities_.unified_memory ? 0 : PinnedStaging::kBytes; }

StateHolder::Extents OpenclDevice::make_extents(const ExtentsSpec& spec) {
  const auto extents = std::make_shared<OpenclExtents>(spec);
  return {extents, extents.get()};
}

namespace {

struct Joiner {
  bool (*joins)(std::span<const JoinedCall> calls, const OpenclDevice& device);
  std::unique_ptr<Kernel> (*join)(std::span<const JoinedCall> calls, OpenclDevice& device);
};
constexpr Joiner kJoiners[] = {
    {joins_rows, join_rows}, {joins_products, join_products}, {joins_columns, join_columns}, {joins_tail, join_tail}};

}  // namespace

int OpenclDevice::family(const OpCall& call) const {
  constexpr int kAlone = 0, kRows = 1, kProducts = 2;
  const JoinedCall one{call, std::vector<int>(call.inputs.size(), -1)};
  if (joins_rows({&one, 1}, *this)) return stands_alone(call, *this) ? kAlone : kRows;
  return joins_products({&one, 1}, *this) || follows_product(call) ? kProducts : kAlone;
}

bool OpenclDevice::joins(std::span<const JoinedCall> calls) const {
  return std::ranges::any_of(kJoiners, [&](const Joiner& joiner) { return joiner.joins(calls, *this); });
}

std::unique_ptr<Kernel> OpenclDevice::join(std::span<const JoinedCall> calls) {
  const Joiner* joiner = std::ranges::find_if(kJoiners, [&](const Joiner& one) { return one.joins(calls, *this); });
  check(joiner != std::end(kJoiners), Code::kInternal, "{}: {} ops that do not go together", info_.name, calls.size());
  std::unique_ptr<Kernel> kernel = joiner->join(calls, *this);
  launched_alone(*kernel);
  return kernel;
}

void OpenclDevice::launched_alone(const Kernel& kernel) const {
  static_cast<const OpenclKernel&>(kernel).ask_for_programs();
}

std::unique_ptr<OpenclFunction> OpenclDevice::function(std::string_view file, std::vector<std::string> definitions,
                                                       const char* name, size_t group) {
  return function(kernel_source(file), std::move(definitions), name, group);
}

std::unique_ptr<OpenclFunction> OpenclDevice::function(const KernelSource& source, std::vector<std::string> definitions,
                                                       const std::string& name, size_t group) {
  if (capabilities_.lanes == Lanes::kVector)
    group = 1;
  else if (group != 64)
    definitions.push_back(fmt::format("GROUP={}", group));
  return std::make_unique<OpenclFunction>(programs_->function(source, definitions, name),
                                          fmt::format("{}: {}", info_.name, name), group);
}

bool OpenclDevice::decodes_by_halves() {
  const auto agrees = [this](DType weight) {
    const auto probe = function("probe.cl",
                                {define("ACT", DType::kF32), define("W", weight),
                                 define("W_BITS", 8 * v4rt::info(weight).block_bytes / v4rt::info(weight).block),
                                 "HALVES=1", "WHOLE=1", "ABREAST=8"},
                                "probe_halves");
    const BufferPtr wrong = allocate(sizeof(int32_t));
    OpenclQueue queue(context_.get(), site_.device, info_.name, lent_queue_.get());
    int32_t count = 0;
    queue.upload(*wrong, 0, std::as_bytes(std::span(&count, 1)));
    (*probe)(queue, {1}, wrong);
    queue.download(std::as_writable_bytes(std::span(&count, 1)), *wrong, 0);
    if (count != 0)
      log::info("{}: {} {} codes differ as halves: decoded by bits", info_.name, count, v4rt::info(weight).name);
    return count == 0;
  };
  std::call_once(halves_asked_, [&] {
    halves_ = capabilities_.lanes == Lanes::kWorkItems && agrees(DType::kFp8) && agrees(DType::kFp4);
  });
  return halves_;
}

bool OpenclDevice::compiles(std::vector<std::string> definitions, const char* name) {
  if (capabilities_.lanes != Lanes::kVector) return false;
  try {
    return programs_->function(kernel_source("probe.cl"), std::move(definitions), name)->get() != nullptr;
  } catch (const Error& error) {
    log::debug("{}: {}", info_.name, error.what());
    return false;
  }
}

bool OpenclDevice::asks_ahead() {
  std::call_once(ahead_asked_, [&] { ahead_ = compiles({}, "probe_ahead"); });
  return ahead_;
}

bool OpenclDevice::permutes() {
  std::call_once(permute_asked_, [&] {
    permutes_ = compiles({define("ACT", DType::kF32), define("W", DType::kFp4), define("W_BITS", 4), "TOKEN_TILE=1",
                          "ROW_TILE=1", "WHOLE=1", "PERMUTES=1"},
                         "probe_permute");
  });
  return permutes_;
}

void OpenclDevice::go_on() {
  if (capabilities_.fenced_language.empty()) return;
  constexpr uint32_t kGroups = 500, kTurns = 20;
  const size_t items = work_group(*this, 64);
  try {
    const KernelSource& source = kernel_source("tail.cl");
    const auto probe = function({source.name, source.text, true}, {}, "probe_arrivals", items);
    const BufferPtr numbers = allocate(kGroups * items * sizeof(uint32_t)), sums = allocate(items * sizeof(uint32_t));
    OpenclQueue queue(context_.get(), site_.device, info_.name, lent_queue_.get());
    queue.fill(*numbers, std::byte{0});
    queue.fill(*sums, std::byte{0});
    for (uint32_t turn = 1; turn <= kTurns; ++turn)
      (*probe)(queue, {kGroups}, numbers, static_cast<int32_t>(turn), queue.arrivals(), sums);
    std::vector<uint32_t> found(items), right(items);
    queue.download(std::as_writable_bytes(std::span(found)), *sums, 0);
    for (uint32_t item = 0; item < items; ++item)
      for (uint32_t turn = 1; turn <= kTurns; ++turn)
        for (uint32_t group = 0; group < kGroups; ++group) right[item] += turn * (group + item);
    goes_on_ = found == right;
  } catch (const Error& error) {
    log::debug("{}: {}", info_.name, error.what());
  }
  if (!goes_on_) log::info("{}: fences of device scope do not do what they say: launches do not go on", info_.name);
}

BufferPtr OpenclDevice::constant(std::span<const float> values) {
  try {
    return OpenclBuffer::constant(context_.get(), std::as_bytes(values));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", info_.name, error.what()));
  }
}

namespace {

// The form that was measured to suit the device, or the usual one.
void take_lanes(Capabilities& capabilities, const std::optional<LanesTrials>& trials) {
  if (trials) capabilities.lanes = choose_lanes(*trials).lanes;
}

}  // namespace

std::vector<DeviceInfo> list_opencl_devices(std::vector<std::string>& problems, const std::string& cache_dir) {
  std::vector<DeviceInfo> infos;
  const OpenclSites found = find_opencl_sites();
  problems.insert(problems.end(), found.problems.begin(), found.problems.end());
  for (const OpenclSite& site : found.sites) {
    Capabilities capabilities = query_capabilities(site);
    const std::string name = name_of(infos.size());
    take_lanes(capabilities, kept_trials(cache_dir, device_info(capabilities, name)));
    infos.push_back(device_info(capabilities, name));
  }
  return infos;
}

namespace {

// Those of before; otherwise they are made, where there are processes to do it in and they can be kept.
std::optional<LanesTrials> trials_of(const Capabilities& capabilities, const std::string& cache_dir,
                                     const std::vector<std::string>& compiler,
                                     std::vector<std::unique_ptr<Child>>& waiting) {
  const DeviceInfo device = device_info(capabilities, {});
  if (const auto kept = kept_trials(cache_dir, device)) return kept;
  if (compiler.empty() || cache_dir.empty()) return {};
  const auto trials = try_lanes(compiler, capabilities.lanes, waiting);
  if (trials) keep_trials(cache_dir, device, *trials);
  return trials;
}

std::shared_ptr<Device> open(const OpenclSite& site, const std::string& name, const std::string& cache_dir,
                             std::optional<Lanes> lanes, const FastOptions& fast, const OpenclLimits& limits,
                             const OpenclLoan& loan, const std::vector<std::string>& compiler = {}) {
  Capabilities capabilities = query_capabilities(site);
  if (!capabilities.compiler) return std::make_shared<BuiltinDevice>(site, capabilities, name, fast, loan);
  const bool limited = limits.max_group > 0 || limits.local_memory > 0;  // the trials know nothing of that
  std::vector<std::unique_ptr<Child>> waiting;
  const auto trials =
      trials_of(capabilities, cache_dir, lanes || limited ? std::vector<std::string>() : compiler, waiting);
  if (!limited) take_lanes(capabilities, trials);
  capabilities.lanes = lanes.value_or(capabilities.lanes);
  check(!trials || !trials->of(capabilities.lanes).crashed, Code::kDevice,
        "{}: its driver ended the process that tried its kernels on {}: {}; 'v4rt cache clear' lets it be tried again",
        name, to_string(capabilities.lanes), trials ? trials->of(capabilities.lanes).problem : "");
  if (limits.own_memory) capabilities.unified_memory = capabilities.host_memory = false;
  if (limits.max_group > 0) capabilities.max_group = std::min(capabilities.max_group, limits.max_group);
  if (limits.local_memory > 0) capabilities.local_memory = std::min(capabilities.local_memory, limits.local_memory);
  constexpr size_t kLeastGroup = 64;  // of the kernels that sum in 64 lanes
  check(capabilities.lanes == Lanes::kVector || capabilities.max_group >= kLeastGroup, Code::kUnsupported,
        "{}: {}: its work-groups have at most {} work-items, kernels with a lane per work-item need {}; those with "
        "vector lanes (--lanes vector) need one",
        name, capabilities.device_name, capabilities.max_group, kLeastGroup);
  while (true) {
    auto device = std::make_shared<OpenclDevice>(site, capabilities, name, cache_dir, fast, loan, compiler);
    device->employ(std::move(waiting));
    const ArithmeticFault fault = fault_of(ask_arithmetic(*device), capabilities.denormals);
    if (fault.what.empty()) {
      // A processor's launches cost little, and PoCL takes seconds, on work-items minutes, to compile longer ones.
      if (limits.goes_on.value_or(!capabilities.processor)) device->go_on();
      return device;
    }
    check(go_round(fault, capabilities), Code::kUnsupported,
          "{}: {}: it does not compute as v4rt defines it, so answers would be others: {}", device->info().name,
          device->info().description, fault.what);
  }
}

// A property of a context or queue of the host's, which must be one.
template <class T, class Object>
T lent_value(cl_int (*ask)(Object, cl_uint, size_t, void*, size_t*), Object object, cl_uint question,
             std::string_view what) {
  T value{};
  // NOLINTNEXTLINE(bugprone-sizeof-expression): objects are pointers
  const cl_int status = ask(object, question, sizeof(T), &value, nullptr);
  check(status == CL_SUCCESS, Code::kInvalidArgument, "opencl:host: the host's {}: {}", what, cl::error_name(status));
  return value;
}

void check_loan(const OpenclLoan& loan) {
  std::vector<cl_device_id> devices(
      lent_value<cl_uint>(clGetContextInfo, loan.context, CL_CONTEXT_NUM_DEVICES, "context"));
  cl::check_call(
      clGetContextInfo(loan.context, CL_CONTEXT_DEVICES, std::span(devices).size_bytes(), devices.data(), nullptr),
      "opencl:host: clGetContextInfo");
  check(std::ranges::find(devices, loan.device) != devices.end(), Code::kInvalidArgument,
        "opencl:host: the host's device is not one of its context");
  if (loan.queue == nullptr) return;
  const auto of_queue = [&]<class T>(T, cl_uint question) {
    return lent_value<T>(clGetCommandQueueInfo, loan.queue, question, "queue");
  };
  check(of_queue(cl_context(), CL_QUEUE_CONTEXT) == loan.context &&
            of_queue(cl_device_id(), CL_QUEUE_DEVICE) == loan.device,
        Code::kInvalidArgument, "opencl:host: the host's queue is of another context or device");
  check((of_queue(cl_command_queue_properties(), CL_QUEUE_PROPERTIES) & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) == 0,
        Code::kInvalidArgument,
        "opencl:host: the host's queue runs commands out of order; v4rt needs one that does not");
}

}  // namespace

NamedSite find_opencl_site(const OpenclName& wanted) {
  const auto [sites, problems] = find_opencl_sites();
  const int index = wanted.index;
  check(index >= 0 && static_cast<size_t>(index) < sites.size(), problems.empty() ? Code::kNotFound : Code::kDevice,
        "opencl:{}: there is no such device, {} found{}{}", index, sites.size(), problems.empty() ? "" : "\n  ",
        fmt::join(problems, "\n  "));
  const auto at = static_cast<size_t>(index);
  const std::string name = name_of(at);
  if (!wanted.part) return {sites[at], name};
  const std::vector<OpenclSite> parts = parts_of(sites[at]);
  check(!parts.empty(), Code::kUnsupported, "{}: {} cannot be divided", name,
        cl::device_text(sites[at].device, CL_DEVICE_NAME));
  const auto part = static_cast<size_t>(*wanted.part);
  check(part < parts.size(), Code::kNotFound, "{0}: it has {1} parts, {0}/0 to {0}/{2}", name, parts.size(),
        parts.size() - 1);
  return {parts[part], fmt::format("{}/{}", name, part)};
}

std::shared_ptr<Device> create_opencl_device(const OpenclName& wanted, const std::string& cache_dir,
                                             std::optional<Lanes> lanes, const FastOptions& fast,
                                             const OpenclLimits& limits, std::vector<std::string> compiler) {
  const auto [site, name] = find_opencl_site(wanted);
  if (!compiler.empty()) compiler.push_back(name);
  return open(site, name, cache_dir, lanes, fast, limits, {}, compiler);
}

std::shared_ptr<Device> adopt_opencl_device(const OpenclLoan& loan, const std::string& cache_dir,
                                            std::optional<Lanes> lanes, const FastOptions& fast,
                                            const OpenclLimits& limits) {
  check_loan(loan);
  const OpenclSite site{cl::device_value<cl_platform_id>(loan.device, CL_DEVICE_PLATFORM), loan.device};
  const std::string reason = unusable_because(site);
  check(reason.empty(), Code::kUnsupported, "opencl:host: {}: {}", cl::device_text(loan.device, CL_DEVICE_NAME),
        reason);
  return open(site, "opencl:host", cache_dir, lanes, fast, limits, loan);
}

}  // namespace v4rt
