#pragma once

#include <algorithm>
#include <bit>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "backend/device.h"
#include "backend/opencl/cl.h"
#include "backend/opencl/opencl_buffer.h"
#include "backend/opencl/opencl_queue.h"
#include "backend/opencl/program_cache.h"

namespace v4rt {

// An argument of a launch whose arguments are made into a list.
using KernelArgument = std::variant<const Buffer*, OpenclMemory, int32_t, uint32_t, float>;

// A cl_kernel and the size of its work-groups. Arguments are part of a cl_kernel, so one launch at a time sets them;
// most are what they were at the last launch, and stay.
class OpenclFunction {
 public:
  static constexpr size_t kMostArguments = 192;  // counted as the built program has them

  OpenclFunction(std::shared_ptr<LateFunction> function, std::string name, size_t group);
  ~OpenclFunction();

  // Sets the arguments in order (buffers, places in them, int32_t, uint32_t, float) and enqueues; an empty grid does
  // nothing. A buffer is two arguments of the built program (kernel_arguments.h).
  template <class... Args>
  void operator()(OpenclQueue& queue, Grid grid, const Args&... args) const {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    const std::lock_guard lock(mutex_);
    cl_uint index = 0;
    (set(index, args), ...);
    enqueue(queue, grid);
  }

 private:
  void set(cl_uint& index, const BufferPtr& buffer) const { set(index, buffer.get()); }
  void set(cl_uint& index, const Buffer* buffer) const {
    const OpenclParts::Part part = opencl_parts(*buffer).part(0);
    set_memory(index, part.memory, std::min(part.bytes, buffer->bytes()));
  }
  void set(cl_uint& index, const OpenclMemory& memory) const { set_memory(index, memory, 0); }
  void set(cl_uint& index, const OpenclEntries& entries) const {
    set(index, entries.rows);
    set(index, entries.table);
    set(index, entries.shift);
    set(index, entries.capacity);
  }
  void set(cl_uint& index, std::span<const Tensor> tensors) const {
    for (const Tensor& tensor : tensors) set(index, tensor.values);
  }
  void set(cl_uint& index, std::span<const KernelArgument> list) const {
    for (const KernelArgument& one : list) std::visit([&](const auto& argument) { set(index, argument); }, one);
  }
  void set(cl_uint& index, int32_t value) const { set_word(index, std::bit_cast<uint32_t>(value)); }
  void set(cl_uint& index, float value) const { set_word(index, std::bit_cast<uint32_t>(value)); }
  void set(cl_uint& index, uint32_t value) const { set_word(index, value); }
  void set_word(cl_uint& index, uint32_t value) const { set_bytes(index++, &value, sizeof(value), value); }
  void set_memory(cl_uint& index, const OpenclMemory& memory, size_t bytes) const;
  // `identity` tells values of this argument apart.
  void set_bytes(cl_uint index, const void* value, size_t bytes, uint64_t identity) const;
  void enqueue(OpenclQueue& queue, Grid grid) const;

  std::shared_ptr<LateFunction> function_;
  std::string name_;
  size_t group_;
  mutable std::mutex mutex_;
  mutable std::vector<uint64_t> set_;           // identities, of the arguments that have been set
  mutable std::unique_ptr<FirstLaunch> first_;  // until there has been one
};

// One whose program is asked for when it is first wanted.
class AskedFunction {
 public:
  using Ask = std::function<std::unique_ptr<OpenclFunction>()>;
  explicit AskedFunction(Ask ask) : ask_(std::move(ask)) {}
  const OpenclFunction& get() const {
    std::call_once(asked_, [this] { function_ = ask_(); });
    return *function_;
  }

 private:
  Ask ask_;
  mutable std::once_flag asked_;
  mutable std::unique_ptr<OpenclFunction> function_;
};

// Base of the backend's kernels. Everything fixed is a member; what is live comes with the step.
class OpenclKernel : public Kernel {
 public:
  virtual void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const = 0;
  // For the programs that it would otherwise ask for at its first launch: what may be launched with others may never be
  // launched itself.
  virtual void ask_for_programs() const {}
};

}  // namespace v4rt
