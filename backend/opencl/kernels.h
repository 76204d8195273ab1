#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/opencl/opencl_device.h"
#include "ops/attention/row_format.h"
#include "ops/core/arith.h"

namespace v4rt {

using OpenclEntry = KernelEntry<OpenclDevice>;

std::span<const OpenclEntry> opencl_kernels();  // in order of preference

// What kernels/*.cc share.

// A kernel of one function: body(queue, args, step) enqueues it. A body that leaves its program for later has ask().
template <class Body>
class BodyKernel final : public OpenclKernel {
 public:
  explicit BodyKernel(Body body) : body_(std::move(body)) {}
  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    body_(queue, args, step);
  }
  void ask_for_programs() const override {
    if constexpr (requires { body_.ask(); }) body_.ask();
  }

 private:
  Body body_;
};

template <class Body>
std::unique_ptr<Kernel> make_kernel(Body body, size_t scratch_bytes = 0) {
  auto kernel = std::make_unique<BodyKernel<Body>>(std::move(body));
  kernel->scratch_bytes = scratch_bytes;
  return kernel;
}

// Build definitions.
std::string define(const char* name, DType dtype);                     // "ACT=bf16": names of common.cl
std::string define(const char* name, int64_t value);                   // "DIM=512"
std::vector<std::string> format_definitions(const RowFormat& format);  // of row_format.cl
std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b);

// The largest power of two up to `wanted` work-items that a work-group may have; 1 with vector lanes.
size_t work_group(const OpenclDevice& device, size_t wanted);

// Reasons to refuse.
Support all_row_major(const OpCall& call);
Support fits_local(const OpenclDevice& device, int64_t bytes);

inline int32_t narrow(int64_t value) {
  check(value >= INT32_MIN && value <= INT32_MAX, Code::kUnsupported, "a dimension of {} exceeds 32 bits", value);
  return static_cast<int32_t>(value);
}

constexpr int64_t kColumns = 1024;  // COLUMNS of common.cl
inline size_t tiles(int64_t n, int64_t tile) { return static_cast<size_t>(ceil_div(n, tile)); }

// Rows of the last dimension per index of the first.
inline size_t rows_per_first(const Shape& shape) {
  return shape[0] == 0 ? 0 : static_cast<size_t>(shape.rows() / shape[0]);
}

// Of a state [slots, rows, row bytes].
inline OpenclEntries entries_of(const Tensor& cache, const OpenclQueue& queue) {
  return opencl_parts(*cache.values).entries(narrow(cache.type.shape[1]), queue.step_table());
}

inline size_t live_count(const Step& step) { return static_cast<size_t>(step.n_rows()); }

// The scale plane, or the values again: kernels of types without one take a buffer that they do not read.
inline const BufferPtr& scales_of(const Tensor& weight) {
  return weight.scales != nullptr ? weight.scales : weight.values;
}

}  // namespace v4rt
