// What a device with a built-in product runs, and nothing else.

#include <algorithm>
#include <mutex>

#include "backend/host_buffer.h"
#include "backend/opencl/builtin/builtin_device.h"
#include "backend/opencl/opencl_kernel.h"
#include "ops/core/arith.h"
#include "ops/core/dequant.h"
#include "ops/layout/repack.h"
#include "ops/linear/linear.h"
#include "ops/ref_context.h"

namespace v4rt {
namespace {

constexpr int64_t kDense = 16;  // rows and columns of Layout::kDense are multiples of it

// The shape of a linear op as products: of each op group, weights [m, k] by tokens [k, t] in columns, so that weights
// stay as they were bound and one token is no special case.
struct Products {
  int64_t op_groups, n, k;  // as the op has them
  int64_t m, width, most;   // n, k and the rows of x, padded
  int64_t rows_per_token;
  size_t panel_bytes, sums_bytes;  // of one op group; multiples of the alignment

  Products(const OpCall& call, size_t alignment) {
    const auto& op = op_of<Linear>(call);
    const TensorType &x = call.inputs[0], &w = call.inputs[1];
    op_groups = op.groups, n = w.shape[0] / op.groups, k = w.shape[1];
    rows_per_token = op.rows_per_token(x, w);
    m = round_up(n, kDense), width = round_up(k, kDense), most = round_up(x.shape[0] * rows_per_token, kDense);
    panel_bytes = round_up(static_cast<size_t>(width * most) * sizeof(float), alignment);
    sums_bytes = round_up(static_cast<size_t>(m * most) * sizeof(float), alignment);
  }
  size_t weight_at(int64_t group) const { return static_cast<size_t>(group * n * width) * sizeof(float); }
  size_t scratch_bytes() const { return static_cast<size_t>(op_groups) * (panel_bytes + sums_bytes); }
};

// Rows cross the host, which makes columns of F32 of them and rounds the sums as the op says: the device has nothing
// else that could.
class LinearKernel final : public OpenclKernel {
 public:
  LinearKernel(const OpCall& call, BuiltinDevice& device)
      : shape_(call, device.info().alignment),
        x_(call.inputs[0]),
        out_(call.outputs[0]),
        live_(op_of<Linear>(call).rows),
        function_(device.function()),
        rows_(std::max(x_.bytes(), out_.bytes())),
        panel_(static_cast<size_t>(std::max(shape_.width, shape_.m) * shape_.most)),
        line_(static_cast<size_t>(std::max(shape_.k, shape_.n))) {
    scratch_bytes = shape_.scratch_bytes();
  }

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    const int64_t rows = live_rows(step, live_) * shape_.rows_per_token, t = round_up(rows, kDense);
    if (rows == 0) return;
    const std::lock_guard lock(mutex_);
    const auto [op_groups, n, k, m, width, most, per_token, panel_bytes, sums_bytes] = shape_;
    const OpenclMemory weight = memory_of(*args[1].values), scratch = memory_of(*args[3].values);
    const auto columns = [&](int64_t height) {
      return std::as_writable_bytes(std::span(panel_).first(static_cast<size_t>(height * t)));
    };

    const std::span<std::byte> x = bytes_of(x_, rows * op_groups * k);
    queue.download(x, *args[0].values, 0);
    const Tensor from{.type = x_, .values = borrow_host(x), .scales = nullptr};
    const size_t sums_at = static_cast<size_t>(op_groups) * panel_bytes;
    for (int64_t g = 0; g < op_groups; ++g) {
      std::ranges::fill(std::span(panel_).first(static_cast<size_t>(width * t)), 0.0f);
      for (int64_t row = 0; row < rows; ++row) {
        dequantise(from, (row * op_groups + g) * k, std::span(line_).first(static_cast<size_t>(k)));
        for (int64_t i = 0; i < k; ++i) at(i * t + row) = line_[static_cast<size_t>(i)];
      }
      const size_t panel = static_cast<size_t>(g) * panel_bytes, sums = sums_at + static_cast<size_t>(g) * sums_bytes;
      queue.upload(*args[3].values, panel, columns(width));
      function_(queue,
                {weight.object, weight.offset + shape_.weight_at(g), static_cast<size_t>(m * width) * sizeof(float)},
                {scratch.object, scratch.offset + panel, columns(width).size()},
                {scratch.object, scratch.offset + sums, columns(m).size()}, m, t, width);
    }

    const std::span<std::byte> y = bytes_of(out_, rows * op_groups * n);
    const Tensor to{.type = out_, .values = borrow_host(y), .scales = nullptr};
    for (int64_t g = 0; g < op_groups; ++g) {
      queue.download(columns(m), *args[3].values, sums_at + static_cast<size_t>(g) * sums_bytes);
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < n; ++i) line_[static_cast<size_t>(i)] = at(i * t + row);
        store(to, (row * op_groups + g) * n, std::span(line_).first(static_cast<size_t>(n)));
      }
    }
    queue.upload(*args[2].values, 0, y);
  }

 private:
  float& at(int64_t i) const { return panel_[static_cast<size_t>(i)]; }
  std::span<std::byte> bytes_of(const TensorType& type, int64_t elements) const {
    return std::span(rows_).first(static_cast<size_t>(elements) *
                                  static_cast<size_t>(v4rt::info(type.dtype).block_bytes));
  }

  const Products shape_;
  const TensorType x_, out_;
  const LiveRows live_;
  const BuiltinFunction& function_;
  mutable std::mutex mutex_;  // one launch at a time uses what follows
  mutable std::vector<std::byte> rows_;
  mutable std::vector<float> panel_, line_;
};

Support takes_linear(const OpCall& call, const BuiltinDevice& device) {
  if (call.inputs[1].layout != Layout::kDense) return Support::no("its weight is not dense");
  const Products shape(call, device.info().alignment);
  if (shape.op_groups > 1 && (shape.n % kDense != 0 || shape.weight_at(1) % device.info().alignment != 0))
    return Support::no(fmt::format("its groups of {} rows do not begin where a buffer may", shape.n));
  const size_t most = device.info().max_allocation;
  if (most > 0 && shape.scratch_bytes() > most)
    return Support::no(
        fmt::format("it needs {} bytes beside the weights, one buffer may have {}", shape.scratch_bytes(), most));
  return {};
}

std::unique_ptr<Kernel> make_linear(const OpCall& call, BuiltinDevice& device) {
  return std::make_unique<LinearKernel>(call, device);
}

std::string its_driver() { return "the driver's built-in product"; }

// On the host, by the definition: weights are prepared once.
class RepackKernel final : public OpenclKernel {
 public:
  explicit RepackKernel(const OpCall& call) : op_(call.op) {}

  void enqueue(OpenclQueue& queue, std::span<const Tensor> args, const Step& step) const override {
    std::vector<std::byte> values(args[0].type.bytes()), scales(args[0].type.scale_bytes()),
        dense(args[1].type.bytes());
    queue.download(values, *args[0].values, 0);
    if (!scales.empty()) queue.download(scales, *args[0].scales, 0);
    const Tensor from{.type = args[0].type, .values = borrow_host(values), .scales = borrow_host(scales)};
    const Tensor to{.type = args[1].type, .values = borrow_host(dense), .scales = nullptr};
    RefContext context({&from, 1}, {&to, 1}, step);
    op_.reference(context);
    queue.upload(*args[1].values, 0, dense);
  }

 private:
  const Op& op_;
};

Support takes_repack(const OpCall& call, const BuiltinDevice&) {
  return op_of<Repack>(call).layout == Layout::kDense ? Support{} : Support::no("it makes dense only");
}

std::unique_ptr<Kernel> make_repack(const OpCall& call, BuiltinDevice&) { return std::make_unique<RepackKernel>(call); }

}  // namespace

const BuiltinEntry kBuiltinLinear{OpKind::kLinear, "opencl.linear.builtin", takes_linear, make_linear, its_driver};
const BuiltinEntry kBuiltinRepack{OpKind::kRepack, "opencl.repack.host", takes_repack, make_repack};

}  // namespace v4rt
