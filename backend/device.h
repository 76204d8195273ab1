#pragma once

// The complete interface between the graph and the devices that run it.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ops/core/step.h"
#include "ops/core/tensor.h"
#include "ops/op.h"

namespace v4rt {

// Yes, with the kernel to use, and the reason if there was a choice; or no, with the reason. Reasons are shown to
// users: they name the fact.
struct Support {
  bool ok = true;
  std::string reason;
  int kernel = 0;  // for Device::make
  static Support no(std::string why) { return {false, std::move(why)}; }
  explicit operator bool() const { return ok; }
};

struct DeviceInfo {
  std::string name;                   // "cpu", "opencl:0"
  std::string description;            // "Intel(R) Xeon(R) ..., 2 threads, avx512bf16"
  size_t alignment = 64;              // of buffer slices
  size_t max_allocation = 0;          // bytes in one buffer; 0 = unknown
  size_t memory = 0;                  // bytes in all; 0 = unknown
  std::vector<std::string> features;  // features that kernels are chosen by: "avx512bf16", "fp64", "subgroups"
  bool subnormals = true;             // numbers below the normal range are kept, not taken for zero (exact_math.h)
};

// The best that a device does, measured: 1e9 bytes a second that are read and summed, out of a buffer larger than
// caches; 1e9 FLOP a second of multiply-adds (2 each) in registers: of f32, of pairs of bf16, of tiles of bf16 in a
// matrix unit. 0: it has none, or nobody knows.
struct DeviceSpeed {
  double read_gbs = 0, buffer_bytes = 0;
  double f32_gflops = 0, bf16_gflops = 0, matrix_gflops = 0;

  double best_bf16_gflops() const {  // of all that multiply bf16 numbers exactly, f32 among them
    return std::max({f32_gflops, bf16_gflops, matrix_gflops});
  }
};

// One op compiled for fixed shapes. Immutable and owned by plans; several queues may launch it.
class Kernel {
 public:
  virtual ~Kernel() = default;
  size_t scratch_bytes = 0;  // planned like any other value; passed as the last argument when > 0 (U8 tensor)
  std::string name;          // "cpu.linear.fp4": set by compile_kernel
};

// Runs commands in order. Used from one thread at a time.
class Queue {
 public:
  virtual ~Queue() = default;
  virtual void upload(Buffer& dst, size_t offset, std::span<const std::byte> src) = 0;  // src is free on return
  virtual void download(std::span<std::byte> dst, Buffer& src, size_t offset) = 0;      // dst is filled on return
  virtual void fill(Buffer& dst, std::byte value) = 0;                                  // all of it
  // Ranges of one buffer must not overlap.
  virtual void copy(Buffer& dst, size_t dst_offset, Buffer& src, size_t src_offset, size_t bytes) = 0;
  virtual void begin(const Step& step) = 0;  // sets the step for the following launches; copies it, without waiting
  virtual void launch(const Kernel& kernel, std::span<const Tensor> args,
                      const Step& step) = 0;  // inputs, outputs[, scratch]
  virtual void finish() = 0;
};

// What a device compiled for its kernels, for people and their tools.
struct DeviceProgram {
  struct Function {
    std::string name;
    std::vector<size_t> group;  // work-items of a work-group in each dimension, as compiled
  };
  std::string file, source, options;
  std::string log;  // the compiler's
  std::vector<std::byte> binary;
  std::vector<Function> functions;  // those that kernels use
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual Support supports(const OpCall& call) const = 0;
  // Makes the kernel that supports() chose for this call. Slow; never while tokens flow.
  virtual std::unique_ptr<Kernel> make(const OpCall& call, int kernel) = 0;
  std::unique_ptr<Kernel> compile(
      const OpCall& call);  // supports() and make(); throws Error(kUnsupported) with the reasons
  virtual Layout weight_layout(const TensorType& weight) const {
    (void)weight;
    return Layout::kRows;
  }                                              // the layout that its products want
  virtual BufferPtr allocate(size_t bytes) = 0;  // throws Error(kOutOfMemory)
  virtual BufferPtr import_host(std::span<const std::byte> memory) {
    (void)memory;
    return nullptr;
  }  // zero-copy read-only view, or nullptr: "upload it"
  virtual std::unique_ptr<Queue> create_queue() = 0;
  // Waits for what make() may have left to others to compile, so that no launch has to. What `progress` throws is
  // passed on; it may be empty.
  virtual void finish_kernels(const std::function<void(double done)>& progress) { (void)progress; }
  virtual std::vector<DeviceProgram> programs() { return {}; }  // of the kernels made so far
  // For reports. Takes about a second, and up to 1 GiB of memory. A shared machine changes from one second to the next,
  // so measure it often.
  virtual DeviceSpeed measure_speed() { return {}; }
};

}  // namespace v4rt
