#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/joining.h"
#include "backend/kernel_table.h"
#include "backend/opencl/capabilities.h"
#include "backend/opencl/kernel_sources.h"
#include "backend/opencl/opencl_context.h"
#include "backend/opencl/opencl_kernel.h"
#include "backend/opencl/program_cache.h"
#include "backend/opencl_name.h"
#include "backend/state_memory.h"

namespace v4rt {

// One OpenCL device with a context of its own, or of the host program.
class OpenclDevice final : public TableDevice<OpenclDevice>,
                           public StateHolder,
                           public OverlappingDevice,
                           public JoiningDevice {
 public:
  OpenclDevice(const OpenclSite& site, const Capabilities& capabilities, const std::string& name,
               const std::string& cache_dir, FastOptions fast = {}, const OpenclLoan& loan = {},
               std::vector<std::string> compiler = {});
  OpenclDevice(const OpenclDevice&) = delete;
  OpenclDevice& operator=(const OpenclDevice&) = delete;

  const DeviceInfo& info() const override { return info_; }
  Layout weight_layout(const TensorType& weight) const override;
  BufferPtr allocate(size_t bytes) override { return allocate_buffer(context_.get(), info_, bytes, budget_); }
  BufferPtr import_host(std::span<const std::byte> memory) override;
  std::unique_ptr<Queue> create_queue() override;
  void finish_kernels(const std::function<void(double done)>& progress) override { programs_->finish(progress); }
  std::vector<DeviceProgram> programs() override { return programs_->programs(); }
  DeviceSpeed measure_speed() override;  // speed.cc
  StateMemory state_memory() const override { return StateMemory::kExtents; }
  Extents make_extents(const ExtentsSpec& spec) override;
  size_t pinned_bytes() const override;

  int family(const OpCall& call) const override;
  bool joins(std::span<const JoinedCall> calls) const override;
  std::unique_ptr<Kernel> join(std::span<const JoinedCall> calls) override;
  void launched_alone(const Kernel& kernel) const override;

  // Processes that wait to be asked for programs, before the first is.
  void employ(std::vector<std::unique_ptr<Child>> processes);
  const Capabilities& capabilities() const { return capabilities_; }
  cl_context context() const { return context_.get(); }
  // Kernel `name` of kernels/`file` built with the definitions, in work-groups of `group` work-items; with vector lanes
  // of one.
  std::unique_ptr<OpenclFunction> function(std::string_view file, std::vector<std::string> definitions,
                                           const char* name, size_t group = 64);
  // The same of a source from elsewhere.
  std::unique_ptr<OpenclFunction> function(const KernelSource& source, std::vector<std::string> definitions,
                                           const std::string& name, size_t group = 64);
  // Whether FP8 and FP4 codes may be decoded as halves (weights.cl): asked of the device once, over all codes.
  bool decodes_by_halves();
  bool asks_ahead();  // whether its compiler takes what asks for memory ahead of time (weights.cl)
  bool permutes();    // and what has sixteen lanes pick from sixteen values
  bool goes_on() const { return goes_on_; }  // whether a launch may go on with what follows from it (kernels/tail.h)
  // From now on, if it has fences and they are found to do what they say.
  void go_on();
  BufferPtr constant(std::span<const float> values);  // a table that a kernel keeps

 private:
  bool compiles(std::vector<std::string> definitions, const char* name);  // a kernel of probe.cl, on vector lanes

  OpenclSite site_;
  Capabilities capabilities_;
  DeviceInfo info_;
  cl::Context context_;
  cl::CommandQueue lent_queue_;
  std::shared_ptr<MemoryBudget> budget_;
  std::unique_ptr<ProgramCache> programs_;
  std::once_flag halves_asked_, ahead_asked_, permute_asked_;
  bool halves_ = false, ahead_ = false, permutes_ = false, goes_on_ = false;
};

// Devices in the order of the platforms, "opencl:0" first; nothing is compiled, nor measured, but what was measured
// before is known by cache_dir. What went wrong with others is added to `problems`.
std::vector<DeviceInfo> list_opencl_devices(std::vector<std::string>& problems, const std::string& cache_dir = {});

// No more work-items in a work-group, and bytes that they share, than these; 0: as many as the device has.
// `own_memory`: as if its memory were not the host's. `goes_on`: launches go on (kernels/tail.h) or not; nothing: as
// the device is found to do well with.
struct OpenclLimits {
  size_t max_group = 0, local_memory = 0;
  bool own_memory = false;
  std::optional<bool> goes_on = {};
};

// Throws as create_opencl_device.
struct NamedSite {
  OpenclSite site;
  std::string name;
};
NamedSite find_opencl_site(const OpenclName& wanted);

// Throws Error: kNotFound when there is no such device or part, kDevice when one may be missing because of a problem.
// `compiler`: the command of compilers.h, without the device. An empty cache_dir keeps no programs on disk. Without
// `lanes` the form of the kernels is what was measured to suit the device (lanes_trial.h), now if there is a compiler
// and a cache_dir and it was not yet; otherwise by the device's type and vectors (capabilities.h).
std::shared_ptr<Device> create_opencl_device(const OpenclName& wanted, const std::string& cache_dir,
                                             std::optional<Lanes> lanes = {}, const FastOptions& fast = {},
                                             const OpenclLimits& limits = {}, std::vector<std::string> compiler = {});

// The device "opencl:host". Throws Error(kInvalidArgument) when the objects do not belong together or the queue is out
// of order, and as create_opencl_device.
std::shared_ptr<Device> adopt_opencl_device(const OpenclLoan& loan, const std::string& cache_dir,
                                            std::optional<Lanes> lanes = {}, const FastOptions& fast = {},
                                            const OpenclLimits& limits = {});

}  // namespace v4rt
